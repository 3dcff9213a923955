import { randomUUID } from 'node:crypto'
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs'
import type { Logger } from 'pino'
import type { Lease } from '../../core/task/queue.ts'
import type { Notes } from '../../store/notes.ts'
import { createTurns } from '../loops/turns.ts'

/**
 * Tells the next daemon what this one was at work on when it died, so that a task that kills every daemon is found
 * after `DEATHS_MOST` of them, whatever the way: a crash of native code, no more memory, a loop without an end.
 */
export type BlackBox = {
  /** Runs `work` at once, which belongs to this attempt alone. */
  during: <T>(lease: Lease, work: () => T) => T
  /**
   * The same for work that waits in between. Others may run beside it, but none that was there at an earlier death.
   * Work that tells that it got on is not blamed for what follows: the next daemon has less of it before it.
   */
  meanwhile: <T>(lease: Lease, work: (gotOn: () => void) => Promise<T>) => Promise<T>
  /** Enough daemons died at work on this task: no daemon may touch it any more but to end it. */
  isDeadly: (taskId: string) => boolean
  /** The task was brought to an end, or a person wants it again. */
  forget: (taskId: string) => void
  /** The daemon ends on purpose: whatever it is at work on has not killed it. */
  close: () => void
}

/** As many deaths as a task may lose leases. A kill from outside hits one task three times in a row only by bad luck. */
export const DEATHS_MOST = 3
const NOTE = 'deaths'

/** `counted` is the last daemon whose death was counted, so that a death while counting counts once. */
type Deaths = { counted: string; tasks: Record<string, number> }

/**
 * Invariant: the first line of `file` is this daemon's name and what it is at work on, written before the work begins
 * and again after it. It is written in place, 2 µs and no sync: what was written outlives the process, and the machine's
 * own death is nobody's fault. A death counts against what was alone at work, else against all that was there: those
 * are then done one at a time, so that each is blamed once at most for what another did. Only deaths in a row count:
 * one at other work, or at none, shows that this task can be survived, and a busy one meets many kills from outside.
 */
export function createBlackBox(options: { file: string; notes: Notes; logger: Logger }): BlackBox {
  const { file, notes, logger } = options
  const name = randomUUID()
  const deaths = countLast()
  /** By task; one task has one attempt at work. */
  const atWork = new Map<string, number>()
  const turns = createTurns()
  let descriptor = open()

  /** Counts the death of the daemon before, if it died at work. */
  function countLast(): Map<string, number> {
    const { counted, tasks } = readDeaths(notes.read(NOTE))
    const before = new Map(Object.entries(tasks))
    const [last = '', ...leases] = readLine(file).split(' ')
    if (last === '' || last === counted) return before
    const known = new Map<string, number>()
    for (const taskId of leases) {
      const count = (before.get(taskId) ?? 0) + 1
      known.set(taskId, count)
      logger.warn({ taskId, code: 'DAEMON_DIED_AT_WORK' }, `a daemon died at work on a task (${count})`)
    }
    store(known, last)
    return known
  }

  function store(known: Map<string, number>, counted: string): void {
    try {
      notes.write(NOTE, { counted, tasks: Object.fromEntries(known) } satisfies Deaths)
    } catch (err) {
      logger.warn({ err }, 'the deaths of daemons cannot be counted')
    }
  }

  function open(): number | null {
    try {
      // Not emptied: the block it stands in is there also when the disk is full.
      const opened = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600)
      writeSync(opened, `${name}\n`, 0)
      return opened
    } catch (err) {
      logger.warn({ err }, 'what this daemon is at work on cannot be noted')
      return null
    }
  }

  function note(tasks: Iterable<string>): void {
    if (descriptor === null) return
    try {
      writeSync(descriptor, `${[name, ...tasks].join(' ')}\n`, 0)
    } catch (err) {
      logger.warn({ err }, 'what this daemon is at work on cannot be noted any more')
      closeSync(descriptor)
      descriptor = null
    }
  }

  function enter(taskId: string): void {
    atWork.set(taskId, (atWork.get(taskId) ?? 0) + 1)
    note(atWork.keys())
  }

  function leave(taskId: string): void {
    const count = (atWork.get(taskId) ?? 1) - 1
    if (count > 0) atWork.set(taskId, count)
    else atWork.delete(taskId)
    note(atWork.keys())
  }

  async function alone<T>(taskId: string, work: (gotOn: () => void) => Promise<T>): Promise<T> {
    let isBlamed = true
    const clear = () => {
      if (isBlamed) leave(taskId)
      isBlamed = false
    }
    enter(taskId)
    try {
      return await work(clear)
    } finally {
      clear()
    }
  }

  return {
    during({ taskId }, work) {
      note([taskId])
      try {
        return work()
      } finally {
        note(atWork.keys())
      }
    },
    meanwhile({ taskId }, work) {
      const run = () => alone(taskId, work)
      return deaths.has(taskId) && !atWork.has(taskId) ? turns('suspects', run) : run()
    },
    isDeadly: (taskId) => (deaths.get(taskId) ?? 0) >= DEATHS_MOST,
    forget(taskId) {
      if (deaths.delete(taskId)) store(deaths, readDeaths(notes.read(NOTE)).counted)
    },
    close() {
      note([])
      if (descriptor !== null) closeSync(descriptor)
      descriptor = null
    },
  }
}

function readLine(file: string): string {
  try {
    return readFileSync(file, 'utf8').split('\n', 1)[0] ?? ''
  } catch {
    return ''
  }
}

function readDeaths(noted: unknown): Deaths {
  const { counted, tasks } = (noted ?? {}) as Partial<Deaths>
  const counts = Object.entries(tasks ?? {}).filter(([, count]) => typeof count === 'number')
  return { counted: typeof counted === 'string' ? counted : '', tasks: Object.fromEntries(counts) }
}
