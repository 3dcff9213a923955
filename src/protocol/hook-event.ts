import { z } from 'zod'
import { OWN, PHASES, PLAIN, type RecordedEvent } from '../core/record/hook-kind.ts'
import { paged } from './list.ts'
import { EVENT_FILTER } from './records.ts'
import { at, toIso } from './time.ts'

/** Query of `GET /api/tasks/:id/events`: those with an id above `after`. */
export const EventFilter = z.strictObject({
  ...EVENT_FILTER,
  after: z.coerce.number().int().min(0).default(0),
  ...paged(['id'], { limit: 1000, max: 5000 }),
})

const EVENT_KINDS = [
  ...Object.values(PHASES),
  ...Object.values(PLAIN),
  ...Object.values(OWN),
  'bash_command',
  'bash_output',
  'file_read',
  'file_edit',
  'file_write',
  'permission_granted',
  'unreadable',
  'unknown',
] as const
const number = z.number().nullable()
const text = z.string().nullable()

/** A hook event on the wire: Claude Code's own payload, redacted and bounded, with what ccm knows around it (docs/events.md). */
export const HookEventJson = z
  .looseObject({
    id: z.int(),
    task_id: z.string(),
    attempt: z.int(),
    at,
    hook_event_name: z.string(),
    kind: z.enum(EVENT_KINDS),
    phase: z.enum(Object.values(PHASES)).nullable(),
    tool: text,
    path: text,
    started: at,
    exit_code: number,
    detail: z
      .union([
        z.object({
          old_sha256: text,
          new_sha256: text,
          lines_added: number,
          lines_removed: number,
          size: number,
        }),
        z.object({ command: text, cwd: text, stdout: text, stderr: text }),
      ])
      .nullable(),
    /** Bytes of the payload as it came. */
    size: z.int(),
    truncated: z.boolean(),
    suspect: z.enum(['foreign-session', 'future-time', 'forged']).nullable(),
  })
  .meta({ id: 'HookEvent' })
export type HookEventJson = RecordedEvent['payload'] & z.output<typeof HookEventJson>

export function toHookEventJson(event: RecordedEvent): HookEventJson {
  const { id, attempt, kind, phase, tool, path, detail, size, truncated, suspect } = event
  return {
    ...event.payload,
    id,
    task_id: event.taskId,
    attempt,
    at: toIso(event.at),
    hook_event_name: event.hookEventName,
    kind,
    phase,
    tool,
    path,
    started: toIso(event.started),
    exit_code: event.exitCode,
    detail,
    size,
    truncated,
    suspect,
  }
}
