import { z } from 'zod'
import type { HookEventJson } from './hook-event.ts'
import { ProjectName } from './project.ts'
import { EVENT_FILTER } from './records.ts'
import type { StateChangeJson } from './state-change.ts'
import type { TaskJson } from './task.ts'

/** Query of `GET /api/events`; `replay=1` needs `task` and starts at that task's first event. */
export const LiveFilter = z.strictObject({
  task: z.string().min(1).max(64).optional(),
  project: ProjectName.optional(),
  replay: z.enum(['0', '1']).default('0'),
  /** Only hook events of this kind or phase; changes of state and of tasks come all the same. */
  kind: EVENT_FILTER.kind,
})

/**
 * `GET /api/events[?task=ID]` (SSE): `event: hook` (HookEventJson), `event: state` (StateChangeJson),
 * `event: task` (TaskJson, after each change of its status or state). Ids are cursors for Last-Event-ID.
 */
export type LiveEvent =
  | { event: 'hook'; data: HookEventJson }
  | { event: 'state'; data: StateChangeJson }
  | { event: 'task'; data: TaskJson }
