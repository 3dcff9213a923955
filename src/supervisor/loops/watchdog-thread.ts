import { readFileSync, readdirSync, rename, write, writeFile } from 'node:fs'
import { Session } from 'node:inspector'
import { workerData } from 'node:worker_threads'
import { hear, type Silence } from '../../core/silence.ts'
import type { Hang, WatchdogOrder } from './watchdog.ts'

// A thread of its own: whatever the main thread hangs in, this one goes on. It ends the process by SIGKILL,
// because neither a signal handler nor process.exit() comes through while the main thread is busy.

/** A paused main thread answers within milliseconds; one inside native code never does. */
const STACK_MS = 1000
/**
 * A log that takes no more bytes, or a disk that hangs, must not keep the process alive. In turns of this thread, not
 * in time: where 20 processes wait for two cores, counting 200 ms lost 9 of 24 records.
 */
const LAST_WORDS_TURNS = 8
const TURN_MS = 50

const order = workerData as WatchdogOrder
const counters = new Int32Array(order.buffer)
const limitOf = (index: number) => (index === 0 ? order.eventLoopMs : order.loopMs)
const tickMs = Math.min(500, Math.max(20, Math.min(order.eventLoopMs, order.loopMs) / 20))

let silence: Silence | null = null
let stack: string[] | null = null
let native: string[] = []
let asked = false

setInterval(() => {
  silence = hear(
    silence,
    Array.from(order.loops, (_, index) => Atomics.load(counters, index)),
  )
  const silentMs = silence.ticks.map((ticks) => ticks * tickMs)
  const [ofEventLoop = 0] = silentMs
  // Asked before the limit, so that the answer costs no time; a process that recovers was paused for an instant.
  if (ofEventLoop === 0) [asked, stack] = [false, null]
  else if (!asked && ofEventLoop >= order.eventLoopMs - Math.min(STACK_MS, order.eventLoopMs / 2)) {
    asked = true
    readStack((frames) => (stack = frames))
    native = nativeState()
  }
  // A silent event loop silences all others: theirs counts only beside a living one.
  const alive = ofEventLoop < order.eventLoopMs / 4
  const hung = silentMs.findIndex((ms, index) => ms >= limitOf(index) && (index === 0 || alive))
  if (hung !== -1) end(order.loops[hung] ?? '', limitOf(hung))
}, tickMs)

let ending = false

function end(loop: string, limitMs: number): void {
  if (ending) return
  ending = true
  const kill = () => process.kill(process.pid, 'SIGKILL')
  const frames = loop === order.loops[0] ? (stack ?? native) : []
  const hang: Hang = { at: Date.now(), pid: process.pid, loop, limitMs, stack: frames }
  const entry = {
    level: 'fatal',
    time: new Date(hang.at).toISOString(),
    code: 'HANG',
    durationMs: limitMs,
    err: { message: loop, stack: frames.join('\n') },
    msg: 'the daemon hangs and is ended',
  }
  let left = 2
  const done = () => {
    if (--left === 0) kill()
  }
  write(2, `${JSON.stringify(entry)}\n`, done)
  const part = `${order.reportFile}.part`
  writeFile(part, JSON.stringify(hang), { mode: 0o600 }, () => rename(part, order.reportFile, done))
  let turns = 0
  setInterval(() => ++turns === LAST_WORDS_TURNS && kill(), TURN_MS)
}

function readStack(tell: (frames: string[]) => void): void {
  const session = new Session()
  session.connectToMainThread()
  const urls = new Map<string, string>()
  session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url))
  session.on('Debugger.paused', ({ params }) => {
    tell(
      params.callFrames
        .slice(0, 20)
        .map(
          ({ functionName, location: { scriptId, lineNumber } }) =>
            `${functionName || '(no name)'} ${urls.get(scriptId) ?? ''}:${lineNumber + 1}`,
        ),
    )
    session.post('Debugger.resume')
    session.disconnect()
  })
  session.post('Debugger.enable')
  session.post('Debugger.pause')
  // Else a thread that comes back from native code later would stop, with nobody to let it go on.
  setTimeout(() => session.disconnect(), STACK_MS)
}

/** Native code has no frames to show: what the kernel knows of the main thread instead. */
function nativeState(): string[] {
  const task = `/proc/${process.pid}/task/${process.pid}`
  const waits = readProc(`${task}/wchan`) || 'unknown'
  const children = readProc(`${task}/children`).trim().split(' ').filter(Boolean)
  const running = (children.length > 0 ? children : childrenByParent()).map((pid) =>
    readProc(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 200),
  )
  return [
    `(in native code; the kernel says: ${waits === '0' ? 'running' : waits})`,
    ...running.slice(0, 5).map((command) => `(child process: ${command})`),
  ]
}

/** For kernels without the list of children. */
function childrenByParent(): string[] {
  try {
    return readdirSync('/proc').filter((name) => {
      if (!/^\d+$/.test(name)) return false
      const stat = readProc(`/proc/${name}/stat`)
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(process.pid)
    })
  } catch {
    return []
  }
}

function readProc(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
