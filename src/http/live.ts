import { setImmediate as nextTurn } from 'node:timers/promises'
import type { StateChange } from '../core/agent/attempt.ts'
import type { RecordedEvent } from '../core/record/hook-kind.ts'
import type { AppDeps, LiveCursor } from './deps.ts'
import type { LiveSource } from './live-source.ts'

/** Rows read from the store at once. The store is read again only when a client took what it got. */
const PAGE = 100
/** What is ready goes out together, up to about this much: each write costs more than what is in it. */
const CHUNK_CHARS = 64 * 1024
/**
 * The newest tasks, and those that run, that a resumed stream without `task` starts with, beside those whose state
 * changed since: not all that happens to a task is a row.
 */
const RESUME_TASKS = 100
const RESUME_RUNNING = 1000
/** How many tasks a stream asks the queue for at once. */
const TASKS_AT_ONCE = 100
/** How many tasks a stream of some projects remembers the project of. */
const KNOWN_TASKS = 10_000
/** A client that takes nothing for so long is gone: its stream ends and it may resume. */
const STUCK_AFTER_MS = 60_000

/** Reads `12.7`; null for anything that is no cursor. */
export function readCursor(text: string): LiveCursor | null {
  const [, hook, change] = /^(\d{1,15})\.(\d{1,15})$/.exec(text) ?? []
  return hook === undefined || change === undefined
    ? null
    : { hookEventId: Number(hook), stateChangeId: Number(change) }
}

type LiveOptions = {
  /** Null: all tasks. */
  taskId: string | null
  /** Only of these projects; null: of all. */
  projects?: readonly string[] | null
  cursor: LiveCursor
  /** The client was here before: tasks may have changed since. */
  resumed: boolean
  /** Only hook events of this kind or phase; null: all. */
  kind?: string | null
  signal: AbortSignal
}

/**
 * The text of one live stream (SSE). First a bare id, so that even a client that saw nothing can resume; then
 * the task itself if one was asked for; then rows after the cursor in their order, each once, and after them
 * the newest state of every task that changed: several quick changes may become one `task` event, but never
 * is a `task` event ahead of its rows. Reads the store only when pulled, so a slow client costs no memory. Whatever is
 * kept back from it, a client hears at each heartbeat that it is connected, and how far it got.
 */
export async function* liveText(
  deps: AppDeps,
  source: LiveSource,
  options: LiveOptions,
): AsyncGenerator<string> {
  const { taskId, signal } = options
  const cursor = { ...options.cursor }
  const { isVisible, forget } = createVisibility(source, options.projects ?? null)
  const changed = new Set<string>()
  let nudged = true
  let wake = () => {}
  const heartbeatMs = deps.heartbeatMs ?? 15_000
  let heardAt = performance.now()
  const silentMs = () => performance.now() - heardAt
  source.begun()
  const unsubscribe = deps.subscribe((notice) => {
    source.heard(notice.taskId)
    if (notice.kind === 'task') forget(notice.taskId)
    if (taskId !== null && notice.taskId !== taskId) return
    if (notice.kind !== 'hook') changed.add(notice.taskId)
    nudged = true
    wake()
  })
  try {
    yield frame(cursor)
    if (taskId !== null) changed.add(taskId)
    else if (options.resumed) {
      const { projects = null } = options
      const of = projects === null ? {} : { projects }
      const running = await deps.tasks.list({ status: 'running', limit: RESUME_RUNNING, ...of })
      const newest = await deps.tasks.list({ limit: RESUME_TASKS, ...of })
      for (const { task } of [...running, ...newest].toReversed()) changed.add(task.id)
    }
    let isResuming = taskId === null && options.resumed
    while (!signal.aborted) {
      if (nudged) {
        nudged = false
        const ids = [...changed].slice(0, TASKS_AT_ONCE)
        for (const id of ids) changed.delete(id)
        // Read before the rows: whatever led to this state is stored by then and goes out first.
        const views = await Promise.all(ids.map((id) => source.task(id)))
        let text = ''
        const passed = (id: string) => isResuming && !ids.includes(id) && changed.add(id)
        for await (const row of rowsAfter(source, options, cursor, isVisible, passed)) {
          // Each page gives something, so this holds for what is read of a long history, too.
          if (signal.aborted) return
          text += row
          if (text.length < CHUNK_CHARS && silentMs() < heartbeatMs) continue
          yield text
          heardAt = performance.now()
          text = ''
        }
        isResuming = false
        for (const view of views) {
          if (view !== null && (await isVisible(view.task.id)))
            text += frame(cursor, 'task', source.taskText(view))
        }
        if (text !== '') {
          yield text
          heardAt = performance.now()
        }
        if (changed.size > 0) {
          nudged = true
          await nextTurn()
        }
      } else {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, heartbeatMs - silentMs())
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
          signal.addEventListener('abort', wake, { once: true })
        })
        signal.removeEventListener('abort', wake)
      }
      if (!signal.aborted && silentMs() >= heartbeatMs) {
        yield `: alive\n${frame(cursor)}`
        heardAt = performance.now()
      }
    }
  } finally {
    unsubscribe()
    source.left()
  }
}

/** All rows after the cursor, in pages; moves the cursor along. `passed` hears whose state changed. */
async function* rowsAfter(
  source: LiveSource,
  { taskId, kind = null }: LiveOptions,
  cursor: LiveCursor,
  isVisible: (taskId: string) => Promise<boolean>,
  passed: (taskId: string) => void,
): AsyncGenerator<string> {
  for (;;) {
    const { hooks, changes } = await source.rows({
      taskId,
      afterHook: cursor.hookEventId,
      afterChange: cursor.stateChangeId,
      limit: PAGE,
    })
    for (const row of inOrder(hooks, changes)) {
      if ('hookEventName' in row) {
        cursor.hookEventId = row.id
        const isWanted = kind === null || row.kind === kind || row.phase === kind
        if (isWanted && (await isVisible(row.taskId))) yield frame(cursor, 'hook', source.hookText(row))
      } else {
        cursor.stateChangeId = row.id
        passed(row.taskId)
        if (await isVisible(row.taskId)) yield frame(cursor, 'state', source.changeText(row))
      }
    }
    if (hooks.length < PAGE && changes.length < PAGE) return
    // Of rows that are for others the client gets this only: it goes on after them when it comes again.
    yield frame(cursor)
    // The store answers at once: else nothing but this stream would run until all of the history is read.
    await nextTurn()
  }
}

/** Whether a task is of one of these projects; what is known of it stays until it changes: while queued it may move. */
function createVisibility(
  source: LiveSource,
  projects: readonly string[] | null,
): { isVisible: (taskId: string) => Promise<boolean>; forget: (taskId: string) => void } {
  const known = new Map<string, boolean>()
  return {
    async isVisible(taskId) {
      if (projects === null) return true
      const before = known.get(taskId)
      if (before !== undefined) return before
      const view = await source.task(taskId)
      const visible = view !== null && projects.includes(view.task.project)
      if (known.size >= KNOWN_TASKS) known.clear()
      known.set(taskId, visible)
      return visible
    },
    forget: (taskId) => void known.delete(taskId),
  }
}

/** Both lists by time; a hook event before a change of the same millisecond, which it may have caused. */
function inOrder(hooks: RecordedEvent[], changes: StateChange[]): (RecordedEvent | StateChange)[] {
  const rows: (RecordedEvent | StateChange)[] = []
  let next = 0
  for (const change of changes) {
    for (let hook = hooks[next]; hook !== undefined && hook.at <= change.at; hook = hooks[next]) {
      rows.push(hook)
      next++
    }
    rows.push(change)
  }
  return [...rows, ...hooks.slice(next)]
}

function frame(cursor: LiveCursor, event?: string, json?: string): string {
  const id = `id: ${cursor.hookEventId}.${cursor.stateChangeId}\n`
  // JSON.stringify writes no raw newline, so one data line always holds it.
  return event === undefined ? `${id}\n` : `${id}event: ${event}\ndata: ${json}\n\n`
}

/**
 * A live stream as an HTTP body, read as fast as the client takes it. The client's end ends the generator and
 * its subscription; for a client that takes nothing for a minute `drop` is called, which has to cut its connection.
 * `left` is called however it ends.
 */
export function toBody(
  text: AsyncGenerator<string>,
  abort: AbortController,
  drop: () => void,
  left: () => void = () => {},
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let stuck: NodeJS.Timeout | undefined
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(stuck)
        const { done, value } = await text.next().catch((error: unknown) => {
          left()
          throw error
        })
        if (done === true) {
          left()
          return controller.close()
        }
        controller.enqueue(encoder.encode(value))
        stuck = setTimeout(drop, STUCK_AFTER_MS).unref()
      },
      async cancel() {
        left()
        clearTimeout(stuck)
        abort.abort()
        await text.return(undefined)
      },
    },
    // Nothing is made in advance: a row is read from the store when the socket has room for it.
    { highWaterMark: 0 },
  )
}
