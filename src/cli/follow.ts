import type { DaemonClient, EventsQuery } from '../client/daemon-client.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import { isFinal } from '../core/task/task.ts'
import type { PendingQuestion } from '../protocol/answer.ts'
import type { HookEventJson } from '../protocol/hook-event.ts'
import type { TaskJson } from '../protocol/task.ts'
import { showElapsed } from './duration.ts'
import { liveLine, toolCall } from './event-view.ts'
import { oneLine } from './printable.ts'
import { showCount } from './task-view.ts'
import type { Live, Paint } from './terminal.ts'

/** Why `follow` came back: the task is over, it needs a person, or the caller's signal said so. */
export type Followed = { why: 'over' | 'waits' | 'detached'; task: TaskJson }

/**
 * Lets a person answer. Settles when the answer was given; `signal` fires when somebody else was first.
 * `leave` means: stop following, the question stays open.
 */
export type Answer = (task: TaskJson, signal: AbortSignal) => Promise<'answered' | 'leave'>

/** Events are nudges and may be missed, so the task itself is asked this often. */
const POLL_MS = 5000
/** So long a daemon may be away (a restart, say) before following it is given up. */
const GONE_MS = 30_000
/** The daemon's largest page. */
const PAGE = 5000

/**
 * Follows one task until it is over, printing what happens. Without `answer` it comes back as soon as the
 * task waits for a person. Survives a restart of the daemon; throws DAEMON_UNREACHABLE when it stays away.
 */
export async function follow(
  first: TaskJson,
  options: { api: DaemonClient; live: Live | null; paint: Paint; answer: Answer | null; signal: AbortSignal },
): Promise<Followed> {
  const { api, answer } = options
  const ended = new AbortController()
  const { promise, resolve, reject } = Promise.withResolvers<Followed>()
  const view = createView(options.live, options.paint)
  let task = first
  let asking: { key: string; controller: AbortController } | null = null
  let taskEvents = 0

  const onDetach = () => resolve({ why: 'detached', task })
  options.signal.addEventListener('abort', onDetach)
  if (options.signal.aborted) onDetach()

  const onTask = (next: TaskJson) => {
    task = next
    view.task(next)
    if (isFinal(next.status)) return resolve({ why: 'over', task: next })
    const key = needsPerson(next)
    if (asking !== null && asking.key !== key) {
      asking.controller.abort()
      asking = null
    }
    if (key === null || asking !== null) return
    if (answer === null || waitsForRepair(next)) return resolve({ why: 'waits', task: next })
    const controller = new AbortController()
    asking = { key, controller }
    view.pause()
    answer(next, AbortSignal.any([controller.signal, ended.signal]))
      .then((reply) => {
        if (reply === 'leave') resolve({ why: 'waits', task })
      })
      .catch((error: unknown) => {
        if (!controller.signal.aborted && !ended.signal.aborted) reject(error)
      })
      .finally(() => view.resume())
  }
  const listen = async () => {
    const stream = { task: first.id, replay: true, giveUpAfterMs: GONE_MS, signal: ended.signal }
    for await (const event of api.liveEvents(stream)) {
      if (event.event === 'hook') view.hook(event.data)
      if (event.event !== 'task') continue
      taskEvents++
      onTask(event.data)
    }
  }
  const poll = async () => {
    for (;;) {
      await pause(POLL_MS, ended.signal)
      if (ended.signal.aborted) return
      const before = taskEvents
      // A daemon that is away is the stream's affair: it knows for how long.
      const found = await api.task(first.id).catch(unlessUnreachable)
      // What an event said meanwhile is newer than this answer.
      if (found !== null && taskEvents === before) onTask(found)
    }
  }
  try {
    onTask(first)
    listen().catch((error: unknown) => reject(isUnreachable(error) ? gone(first, error) : error))
    poll().catch(reject)
    const followed = await promise
    // The last events may still be on their way.
    if (followed.why === 'over') for (const event of await eventsOf(api, first.id)) view.hook(event)
    return followed
  } finally {
    ended.abort()
    options.signal.removeEventListener('abort', onDetach)
    view.end()
  }
}

/** All stored hook events of a task, oldest first; the daemon hands them out in pages. */
export async function eventsOf(
  api: DaemonClient,
  id: string,
  filter: EventsQuery = {},
): Promise<HookEventJson[]> {
  const events: HookEventJson[] = []
  for (;;) {
    const page = await api.events(id, { ...filter, after: events.at(-1)?.id ?? 0, limit: PAGE })
    events.push(...page)
    if (page.length < PAGE) return events
  }
}

/** What a task waits for, as a key that changes with the question; null when no person is needed. */
function needsPerson(task: TaskJson): string | null {
  if (waitsForTrust(task)) return 'trust'
  if (waitsForRepair(task)) return 'repair'
  if (task.status !== 'running' || task.agent_state !== 'waiting') return null
  const question: PendingQuestion | null = task.waiting_for
  return `${task.attempt} ${question === null ? '' : JSON.stringify(question)}`
}

/** True for a task that is queued because its directory is not trusted. */
export function waitsForTrust(task: TaskJson): boolean {
  return task.status === 'queued' && task.state_reason?.startsWith('trust') === true
}

/** True for a task that no agent can take before a person mends the machine: a login, claude or tmux missing. */
export function waitsForRepair(task: TaskJson): boolean {
  return task.status === 'queued' && /^(?:login|claude|tmux|project):/.test(task.state_reason ?? '')
}

// Prints tool calls as lines and the rest as the line below; while a question is open, lines are kept back.
function createView(live: Live | null, paint: Paint) {
  const startedAt = Date.now()
  const running = new Map<string, string>()
  const kept: string[] = []
  let paused = false
  let ended = false
  const seen = new Set<number>()
  let state = ''
  let tokens = ''
  let printedState = ''

  const print = (line: string) => {
    if (paused) kept.push(line)
    else live?.print(line)
  }
  const repaint = () => {
    if (paused || ended) return
    // The time comes first: a narrow terminal cuts the end.
    const parts = [showElapsed(Date.now() - startedAt), state]
    if (tokens !== '') parts.splice(1, 0, tokens)
    const call = [...running.values()].at(-1)
    if (call !== undefined && !state.includes(call)) parts.push(call)
    live?.status(parts.join(' · '))
  }
  const timer = setInterval(repaint, 1000)
  return {
    hook: (event: HookEventJson) => {
      if (seen.has(event.id)) return
      seen.add(event.id)
      const key = event.tool_use_id ?? ''
      if (event.hook_event_name === 'PreToolUse') running.set(key, toolCall(event))
      else running.delete(key)
      const line = liveLine(event, paint)
      if (line !== null) print(line)
      repaint()
    },
    task: (task: TaskJson) => {
      const name = task.status === 'running' ? (task.agent_state ?? 'running') : task.status
      if (task.tokens !== null && task.tokens.output > 0) {
        tokens = `${showCount(task.tokens.input)} in, ${showCount(task.tokens.output)} out`
      }
      state = `${name}${task.state_reason === null ? '' : `: ${oneLine(task.state_reason)}`}`
      // On a terminal the status line says it; elsewhere each change of the state is a line.
      const news = state !== printedState && !isFinal(task.status)
      if (news && live?.terminal === false) print(paint.dim(state))
      printedState = state
      repaint()
    },
    pause: () => {
      paused = true
      live?.status('')
    },
    resume: () => {
      paused = false
      for (const line of kept.splice(0)) print(line)
      repaint()
    },
    end: () => {
      clearInterval(timer)
      paused = false
      for (const line of kept.splice(0)) print(line)
      live?.status('')
      // An answer that is under way resumes the view later than this.
      ended = true
    },
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof CcmError && error.code === 'DAEMON_UNREACHABLE'
}

function unlessUnreachable(error: unknown): null {
  if (isUnreachable(error)) return null
  throw error
}

function gone(task: TaskJson, cause: unknown): CcmError {
  return new CcmError('DAEMON_UNREACHABLE', `The daemon stopped answering: ${messageOf(cause)}`, {
    remedy: `The task is kept; look with: ccm show ${task.id}`,
    cause,
  })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const timer = setTimeout(finish, ms)
    function finish() {
      clearTimeout(timer)
      signal.removeEventListener('abort', finish)
      resolve()
    }
    signal.addEventListener('abort', finish)
  })
}
