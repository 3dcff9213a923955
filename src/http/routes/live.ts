import { isDeepStrictEqual } from 'node:util'
import { allows, type Principal } from '../../core/principal.ts'
import { LiveFilter } from '../../protocol/live.ts'
import type { AppDeps } from '../deps.ts'
import { createLiveSource } from '../live-source.ts'
import { liveText, readCursor, toBody } from '../live.ts'
import { bearerOf } from '../guards.ts'
import { Problem, parseInput } from '../problem.ts'
import { checkProject } from './projects.ts'
import type { HttpContext, Route } from './route.ts'
import { findTask } from './task-id.ts'

/** More than any dashboard needs, and few enough that one key cannot take all the daemon's files. */
const STREAMS_MAX = 256
/** With what the cache of verified tokens adds, a revoked credential's stream ends within 5 s. */
const ASK_AGAIN_MS = 900

/** `GET /api/events`: the live stream, resumable by Last-Event-ID. */
export function liveRoutes(deps: AppDeps): Route[] {
  const takePlace = createPlaces()
  const source = createLiveSource(deps)
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
        const { task, project, replay, kind } = parseInput(LiveFilter, context.req.query())
        const lastEventId = context.req.header('last-event-id') ?? ''
        const resumeAt = lastEventId === '' ? null : readCursor(lastEventId)
        if (lastEventId !== '' && resumeAt === null) {
          throw new Problem(400, { code: 'BAD_INPUT', message: 'Last-Event-ID is not an id of this stream.' })
        }
        if (replay === '1' && task === undefined) {
          throw new Problem(400, { code: 'BAD_INPUT', message: 'replay needs task.', field: 'replay' })
        }
        await checkProject(deps, context, project)
        const headers = {
          'content-type': 'text/event-stream',
          'cache-control': 'no-store',
          'x-accel-buffering': 'no',
        }
        // Nobody would ever read that stream, or end it.
        if (context.req.method === 'HEAD') return new Response(null, { headers })
        const principal = context.get('principal')
        const taskId = task === undefined ? null : (await findTask(deps, context, task)).task.id
        const last = await deps.lastIds()
        const start = resumeAt ?? (replay === '1' ? { hookEventId: 0, stateChangeId: 0 } : last)
        const abort = new AbortController()
        const place = takePlace(principal)
        const stopAsking = endWithCredential(deps, context, abort)
        const text = liveText(deps, source, {
          taskId,
          projects: project === undefined ? principal.projects : [project],
          // An id from before the database was replaced would wait for ever for rows that come again.
          cursor: {
            hookEventId: Math.min(start.hookEventId, last.hookEventId),
            stateChangeId: Math.min(start.stateChangeId, last.stateChangeId),
          },
          resumed: resumeAt !== null,
          kind: kind ?? null,
          signal: abort.signal,
        })
        const outgoing = context.env?.outgoing
        const leave = () => {
          place.leave()
          stopAsking()
        }
        return new Response(
          toBody(text, abort, () => outgoing?.destroy(), leave),
          { headers },
        )
      },
    },
  ]
}

/** Counts the streams of each credential; refuses the one too many. */
function createPlaces(): (principal: Principal) => { leave: () => void } {
  const taken = new Map<string, number>()
  return ({ kind, id }) => {
    const caller = `${kind} ${id}`
    const count = taken.get(caller) ?? 0
    if (count >= STREAMS_MAX) {
      throw new Problem(429, {
        code: 'TOO_MANY_REQUESTS',
        message: `This credential has ${STREAMS_MAX} live streams already.`,
        remedy: 'Close one that is no longer read.',
      })
    }
    taken.set(caller, count + 1)
    let left = false
    return {
      leave() {
        if (left) return
        left = true
        const now = (taken.get(caller) ?? 1) - 1
        if (now === 0) taken.delete(caller)
        else taken.set(caller, now)
      },
    }
  }
}

/** Ends the stream when its credential is no longer good for it: it may be open for days. */
function endWithCredential(deps: AppDeps, context: HttpContext, abort: AbortController): () => void {
  const credential = bearerOf(context.req.header('authorization')) ?? ''
  const before = context.get('principal')
  const look = async () => {
    const now = await deps.authenticate(credential)
    if (now === 'unavailable') return
    const isGood =
      now !== 'refused' && allows(now, 'read') && isDeepStrictEqual(now.projects, before.projects)
    if (!isGood) abort.abort()
  }
  const timer = setInterval(() => void look().catch(() => abort.abort()), ASK_AGAIN_MS).unref()
  return () => clearInterval(timer)
}
