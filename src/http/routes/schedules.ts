import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { mayEnter } from '../../core/principal.ts'
import { nearestName, shown } from '../../protocol/faults.ts'
import { toTaskJson, TaskJson } from '../../protocol/task.ts'
import { NewScheduleBody, ScheduleFilter, toScheduleJson, ScheduleJson } from '../../protocol/schedule.ts'
import type { AppDeps, ScheduleView } from '../deps.ts'
import { pageOf, type Ranks } from '../page.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import { checkProject } from './projects.ts'
import type { HttpContext, Route } from './route.ts'

const RANKS: Ranks<ScheduleView> = {
  name: ({ schedule }) => schedule.name,
  created_at: ({ schedule }) => schedule.createdAt,
}

/** Recurring tasks. A schedule is found by its name, or by a beginning that only it has. */
export function scheduleRoutes(deps: AppDeps): Route[] {
  const seen = async (context: HttpContext) =>
    (await deps.schedules.list()).filter(({ schedule }) =>
      mayEnter(context.get('principal'), schedule.project),
    )
  const find = async (context: HttpContext): Promise<ScheduleView> => {
    const given = context.req.param('name') ?? ''
    const all = await seen(context)
    const exact = all.find(({ schedule }) => schedule.name === given)
    const near = all.filter(({ schedule }) => given !== '' && schedule.name.startsWith(given))
    const [found, other] = exact === undefined ? near : [exact]
    if (other !== undefined) {
      const names = near.map(({ schedule }) => schedule.name)
      throw new CcmError(
        'CONFLICT',
        `More than one schedule has a name that starts with ${shown(given)}: ${names.slice(0, 5).join(', ')}.`,
        { remedy: 'Write more of the name.' },
      )
    }
    if (found !== undefined) {
      context.set('about', { taskId: null, project: found.schedule.project })
      return found
    }
    const meant = nearestName(
      given,
      all.map(({ schedule }) => schedule.name),
    )
    const hint = meant === null ? '.' : `; did you mean ${meant}?`
    throw new CcmError('NOT_FOUND', `There is no schedule ${shown(given)}${hint}`, {
      remedy: 'See: ccm schedule list',
    })
  }
  const pausing = (path: string, paused: boolean): Route => ({
    method: 'POST',
    path,
    access: 'operate',
    about: paused ? 'Let a schedule rest.' : 'Let a schedule go on; times that passed are skipped.',
    reply: ScheduleJson,
    async handle(context) {
      const { schedule } = await find(context)
      await deps.schedules.setPaused(schedule, paused)
      return context.json(toScheduleJson(await find(context)))
    },
  })

  return [
    {
      method: 'GET',
      path: '/api/schedules',
      access: 'read',
      about: 'The recurring tasks.',
      query: ScheduleFilter,
      reply: z.array(ScheduleJson),
      async handle(context) {
        const { project, ...asked } = parseInput(ScheduleFilter, context.req.query())
        const found = (await seen(context)).filter(
          ({ schedule }) => (project ?? schedule.project) === schedule.project,
        )
        const page = pageOf(context, found, asked, RANKS, ({ schedule }) => schedule.id)
        return context.json(page.map(toScheduleJson))
      },
    },
    {
      method: 'POST',
      path: '/api/schedules',
      access: 'admin',
      about: 'Add a recurring task.',
      body: NewScheduleBody,
      reply: ScheduleJson,
      statuses: [201],
      async handle(context) {
        const body = parseInput(NewScheduleBody, await readBody(context))
        // With a directory it is the name of a project that may be new.
        if (body.dir === undefined) await checkProject(deps, context, body.project)
        const view = await deps.schedules.add({
          dir: body.dir ?? null,
          project: body.project ?? null,
          name: body.name ?? null,
          cron: body.cron,
          timeZone: body.time_zone,
          missed: body.missed,
          overlap: body.overlap,
          task: {
            prompt: body.prompt,
            role: body.role ?? null,
            model: body.model ?? null,
            priority: body.priority ?? null,
            timeoutS: body.timeout_s ?? null,
            permissionMode: body.permission_mode ?? null,
            allowedTools: body.allowed_tools,
            disallowedTools: body.disallowed_tools,
          },
        })
        return context.json(toScheduleJson(view), 201)
      },
    },
    {
      method: 'GET',
      path: '/api/schedules/:name',
      access: 'read',
      about: 'One schedule, by its name or the beginning of it.',
      reply: ScheduleJson,
      handle: async (context) => context.json(toScheduleJson(await find(context))),
    },
    {
      method: 'DELETE',
      path: '/api/schedules/:name',
      access: 'admin',
      about: 'Remove a schedule; its tasks stay.',
      reply: ScheduleJson,
      async handle(context) {
        const view = await find(context)
        await deps.schedules.remove(view.schedule)
        return context.json(toScheduleJson({ ...view, next: [] }))
      },
    },
    pausing('/api/schedules/:name/pause', true),
    pausing('/api/schedules/:name/resume', false),
    {
      method: 'POST',
      path: '/api/schedules/:name/run',
      access: 'write',
      about: 'Add a task of the schedule now.',
      reply: TaskJson,
      statuses: [201],
      async handle(context) {
        const { schedule } = await find(context)
        const { task, agent } = await deps.schedules.run(schedule)
        return context.json(toTaskJson(task, agent), 201)
      },
    },
  ]
}
