import { watch, type FSWatcher } from 'node:fs'
import { uptime } from 'node:os'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { beganOf, eventOf, inOrder, lookAt, stemOf, waitingIn, type Waiting } from './spool.ts'

/** How much of a spool is known at once, whatever waits in it: 10,000 names take 3 MB. */
const KNOWN_MAX = 10_000
/** So many notices at once mean that the kernel's queue (16,384) may have run over: the folder itself tells then. */
const ANNOUNCED_MAX = 1000
/** What holds an event up may have been killed, of which the kernel says nothing. */
const HELD_LOOK_MS = 50
/** The client has gone on without an event that was not on the disk 800 ms after its script began. */
const LATE_MS = 750
/** Within so long the disk lets all of those through that waited for it. */
const LATE_SETTLED_MS = 200
/** Longer than a tick of the clock that dates files. */
const SETTLED_MS = 20
/** A clock that was set back leaves files of the future: those came long ago. */
const FUTURE_MS = 1000
/** What is new that cannot be ordered yet is looked at again. */
const AGAIN_MS = 2

/** What waits in one spool, in the order in which its writing began. */
export type SpoolLine = {
  /** True where there is something to read or to look for now. */
  hasWork: () => boolean
  /** What comes next is still being written: there is work again when the kernel tells of it, or after a while. */
  isHeld: () => boolean
  /** Looks for what waits, where nothing known does. Throws what keeps the folder from being read. */
  refill: () => Promise<void>
  /** The oldest that is known, taken out; undefined where none is. */
  next: () => Waiting | undefined
  /** The folder itself has to be read: not all that is in it was announced. */
  look: () => void
  /**
   * Forgets what is known; the next look, after `restMs` at the earliest, reads the whole folder, so that nothing
   * overtakes what was taken out.
   */
  reset: (restMs?: number) => void
  /** Hears of nothing new any more. */
  unwatch: () => void
  close: () => void
}

/** What the machine's uptime was when `performance.now()` was 0: asking the system takes 9 us. */
let upAtZero = Number.NaN

/** Its script began long before it could begin its file. */
function isLate(stem: string): boolean {
  const began = beganOf(stem)
  if (began === null) return false
  const age = () => upAtZero + performance.now() - began
  // Unknown yet; or the machine slept, of which only the uptime knows.
  if (!(age() >= -LATE_MS && age() < LATE_MS)) upAtZero = uptime() * 1000 - performance.now()
  return age() >= LATE_MS
}

/** Watches the folder from now on; `wake` hears of what comes. */
export function createSpoolLine(options: {
  folder: string
  taskId: string
  wake: () => void
  /** What was taken out leaves the folder: it would be found again. */
  removal: () => Promise<unknown>
  clock: Clock
  logger: Logger
}): SpoolLine {
  const { folder, taskId, wake, clock, logger } = options
  /** Stems of names in the order the kernel announced them: an event's place is where its writing began. */
  const announced = new Map<string, number>()
  let serial = 0
  /** Stems of the files that were taken out last: of their removal the kernel tells too. */
  const taken = new Set<string>()
  /** Found and not read yet, oldest first, from `at` on. */
  let waiting: Waiting[] = []
  let at = 0
  let scan = true
  let held: NodeJS.Timeout | null = null
  /** What comes meanwhile is looked at together: the disk hung and lets it through in any order, or cannot be read. */
  let gathers = false
  let closed = false
  const watcher = watchFolder()

  function watchFolder(): FSWatcher | null {
    try {
      const watcher = watch(folder, { persistent: false }, (_, name) => hear(name))
      watcher.on('error', (err) => logger.warn({ err, taskId }, 'a spool is not watched; the sweep reads it'))
      return watcher
    } catch (err) {
      logger.warn({ err, taskId }, 'a spool cannot be watched; the sweep reads it')
      return null
    }
  }

  function hear(name: string | null): void {
    const stem = stemOf(name)
    if (closed || stem === null) return
    if (name?.startsWith('.') === true) taken.delete(stem)
    else if (taken.has(stem)) return
    const isNew = !announced.has(stem)
    if (isNew) {
      if (announced.size <= ANNOUNCED_MAX) announced.set(stem, serial++)
      else scan = true
      if (isLate(stem)) return gather()
    }
    if (gathers || (!isNew && held === null)) return
    release()
    wake()
  }

  function remember(stem: string): void {
    taken.add(stem)
    if (taken.size > ANNOUNCED_MAX) for (const oldest of taken) return void taken.delete(oldest)
  }

  function hold(ms = HELD_LOOK_MS): void {
    held ??= setTimeout(() => {
      release()
      wake()
    }, ms)
  }

  function gather(): void {
    if (!gathers) rest(LATE_SETTLED_MS)
  }

  function rest(ms: number): void {
    release()
    gathers = true
    scan = true
    hold(ms)
  }

  function release(): void {
    if (held !== null) clearTimeout(held)
    held = null
    gathers = false
  }

  function know(files: Waiting[]): void {
    waiting = files
    at = 0
  }

  /** In the kernel's own order, and without reading the folder. */
  function takeAnnounced(): void {
    const files: Waiting[] = []
    for (const stem of announced.keys()) {
      const file = eventOf(folder, stem, clock())
      if (file === 'in flight') {
        hold()
        break
      }
      if (file !== null) files.push(file)
      announced.delete(stem)
    }
    know(files)
  }

  async function readFolder(): Promise<void> {
    await options.removal()
    scan = false
    const from = clock()
    const known = [...announced.keys()]
    const { files, more, inFlight } = await waitingIn(folder, KNOWN_MAX, announced, from)
    const order = inOrder(announced)
    // Reading a folder may miss what got its name meanwhile: the kernel has told of it.
    await nextTurn()
    const last = files.at(-1)
    const found = new Set(files.map(({ stem }) => stem))
    const missed = [...announced.keys()].flatMap((stem) => {
      const file = found.has(stem) ? null : lookAt(folder, `${stem}.json`)
      return file === null || (more && last !== undefined && order(file, last) > 0) ? [] : [file]
    })
    // Also what was found: where it is announced the kernel has told by now.
    files.push(...missed)
    files.sort(order)
    // Reading a folder may miss a file that came meanwhile and find one that came after it: what is that new waits
    // until it was announced, or until the next look at the folder finds all of its time.
    const isSettled = ({ cameAt }: Waiting) => cameAt < from - SETTLED_MS || cameAt > from + FUTURE_MS
    const isReady = (file: Waiting) => isSettled(file) && (inFlight === null || order(file, inFlight) < 0)
    const ready = files.findIndex((file) => !isReady(file))
    know(ready < 0 ? files : files.slice(0, ready))
    const fresh = new Set(ready < 0 ? [] : files.slice(ready).map(({ stem }) => stem))
    if (inFlight !== null) {
      fresh.add(inFlight.stem)
      scan = true
      const goesOn = () => eventOf(folder, inFlight.stem, clock()) === 'in flight'
      if (waiting.length === 0 && goesOn()) return hold()
    }
    // Read now, found at the next look, or gone.
    for (const stem of known) if (!fresh.has(stem)) announced.delete(stem)
    if (more || [...fresh].some((stem) => !announced.has(stem))) {
      scan = true
      if (waiting.length === 0) await sleep(AGAIN_MS)
    }
  }

  return {
    hasWork: () => at < waiting.length || (held === null && (scan || announced.size > 0)),
    isHeld: () => held !== null,
    async refill() {
      if (at < waiting.length) return
      if (scan || announced.size > ANNOUNCED_MAX) await readFolder()
      else takeAnnounced()
    },
    next() {
      const file = waiting[at]
      if (file === undefined) return undefined
      at++
      remember(file.stem)
      return file
    },
    look: () => void (scan = true),
    reset(restMs = 0) {
      know([])
      announced.clear()
      rest(restMs)
      if (restMs === 0) release()
    },
    unwatch: () => watcher?.close(),
    close() {
      closed = true
      watcher?.close()
      release()
    },
  }
}
