import { LiveFilter } from '../../protocol/rest.ts'
import type { AppDeps } from '../deps.ts'
import { liveText, readCursor, toBody } from '../live.ts'
import { Problem, parseInput } from '../problem.ts'
import type { Route } from './route.ts'
import { findTask } from './task-id.ts'

/** `GET /api/events`: the live stream, resumable by Last-Event-ID. */
export function liveRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/events',
      access: 'read',
      about:
        'The live stream; the events are `hook` (HookEvent), `state` (StateChange) and `task` (Task). Last-Event-ID resumes it.',
      query: LiveFilter,
      reply: 'text/event-stream',
      async handle(context) {
        const { task, replay, kind } = parseInput(LiveFilter, context.req.query())
        const lastEventId = context.req.header('last-event-id') ?? ''
        const resumeAt = lastEventId === '' ? null : readCursor(lastEventId)
        if (lastEventId !== '' && resumeAt === null) {
          throw new Problem(400, { code: 'BAD_INPUT', message: 'Last-Event-ID is not an id of this stream.' })
        }
        if (replay === '1' && task === undefined) {
          throw new Problem(400, { code: 'BAD_INPUT', message: 'replay needs task.', field: 'replay' })
        }
        if (task === undefined && context.get('principal').projects !== null) {
          throw new Problem(400, {
            code: 'BAD_INPUT',
            message: 'A credential for some projects can follow one task at a time.',
            field: 'task',
          })
        }
        const taskId = task === undefined ? null : (await findTask(deps, context, task)).task.id
        const last = await deps.lastIds()
        const start = resumeAt ?? (replay === '1' ? { hookEventId: 0, stateChangeId: 0 } : last)
        const abort = new AbortController()
        const text = liveText(deps, {
          taskId,
          // An id from before the database was replaced would wait for ever for rows that come again.
          cursor: {
            hookEventId: Math.min(start.hookEventId, last.hookEventId),
            stateChangeId: Math.min(start.stateChangeId, last.stateChangeId),
          },
          resumed: resumeAt !== null,
          kind: kind ?? null,
          signal: abort.signal,
        })
        const { outgoing } = context.env
        return new Response(
          toBody(text, abort, () => outgoing?.destroy()),
          {
            headers: {
              'content-type': 'text/event-stream',
              'cache-control': 'no-store',
              'x-accel-buffering': 'no',
            },
          },
        )
      },
    },
  ]
}
