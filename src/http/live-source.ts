import type { StateChange } from '../core/agent/attempt.ts'
import type { RecordedEvent } from '../core/record/hook-kind.ts'
import { toHookEventJson } from '../protocol/hook-event.ts'
import { toStateChangeJson } from '../protocol/state-change.ts'
import { toTaskJson } from '../protocol/task.ts'
import type { AppDeps, EventQuery, TaskView } from './deps.ts'

type Rows = { hooks: RecordedEvent[]; changes: StateChange[] }

/** What the live streams read, each row read and written out once for all of them. */
export type LiveSource = {
  rows: (query: {
    taskId: string | null
    afterHook: number
    afterChange: number
    limit: number
  }) => Promise<Rows>
  task: (id: string) => Promise<TaskView | null>
  /** What a row is on the wire, as JSON. */
  hookText: (row: RecordedEvent) => string
  changeText: (row: StateChange) => string
  taskText: (view: TaskView) => string
  /** A stream begins; it is to call `heard` at each notice before it reads, and `left` once at its end. */
  begun: () => void
  heard: (taskId: string) => void
  left: () => void
}

/** Streams are at the same place but for those that catch up. */
const PAGES_KEPT = 2
const TASKS_KEPT = 100

/**
 * Makes the source. What was read stays good until a notice says that there is more: whoever is at the same place
 * gets the same rows. Nothing is kept while no stream is open.
 */
export function createLiveSource(deps: Pick<AppDeps, 'events' | 'changes' | 'tasks'>): LiveSource {
  const pages = new Map<string, Promise<Rows>>()
  const tasks = new Map<string, Promise<TaskView | null>>()
  let open = 0

  const read = async (hooks: EventQuery, changes: EventQuery): Promise<Rows> => {
    const [events, moves] = await Promise.all([deps.events(hooks), deps.changes(changes)])
    return { hooks: events, changes: moves }
  }
  const kept = <T>(cache: Map<string, Promise<T>>, max: number, key: string, ask: () => Promise<T>) => {
    const known = cache.get(key)
    if (known !== undefined) return known
    const asked = ask()
    if (open > 0) cache.set(key, asked)
    for (const oldest of cache.keys()) {
      if (cache.size <= max) break
      cache.delete(oldest)
    }
    // Whoever asks next asks again.
    asked.catch(() => cache.delete(key))
    return asked
  }

  return {
    rows: ({ taskId, afterHook, afterChange, limit }) =>
      kept(pages, PAGES_KEPT, `${taskId} ${afterHook} ${afterChange} ${limit}`, () =>
        read({ taskId, after: afterHook, limit }, { taskId, after: afterChange, limit }),
      ),
    task: (id) => kept(tasks, TASKS_KEPT, id, () => deps.tasks.get(id)),
    hookText: textOnce(toHookEventJson),
    changeText: textOnce(toStateChangeJson),
    taskText: textOnce(({ task, agent }: TaskView) => toTaskJson(task, agent)),
    begun() {
      open++
      // It begins with how its task is now: not all of that is noticed.
      tasks.clear()
    },
    heard(taskId) {
      pages.clear()
      tasks.delete(taskId)
    },
    left() {
      if (--open > 0) return
      pages.clear()
      tasks.clear()
    },
  }
}

function textOnce<T extends object>(toJson: (row: T) => unknown): (row: T) => string {
  const texts = new WeakMap<T, string>()
  return (row) => {
    const known = texts.get(row)
    if (known !== undefined) return known
    const text = JSON.stringify(toJson(row))
    texts.set(row, text)
    return text
  }
}
