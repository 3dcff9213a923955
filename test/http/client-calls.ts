import { expect } from 'vitest'
import { z } from 'zod'
import type { DaemonClient } from '../../src/client/daemon-client.ts'
import type { LiveMessage } from '../../src/client/live-events.ts'
import { BroadcastJson } from '../../src/protocol/answer.ts'
import { AuditJson } from '../../src/protocol/audit.ts'
import { CancelJson, RetryJson } from '../../src/protocol/cancel-retry.ts'
import { HealthJson, ShutdownJson, StatusJson } from '../../src/protocol/daemon.ts'
import { WorkerJson } from '../../src/protocol/fleet.ts'
import { HookEventJson } from '../../src/protocol/hook-event.ts'
import { InboxEntryJson } from '../../src/protocol/inbox.ts'
import { IncidentJson } from '../../src/protocol/incident.ts'
import { KeyJson, NewKeyJson, RevokedUserJson } from '../../src/protocol/key.ts'
import { ProjectJson } from '../../src/protocol/project.ts'
import { SearchHitJson, TimelineJson } from '../../src/protocol/records.ts'
import { ResultJson } from '../../src/protocol/result.ts'
import { PermissionRuleJson } from '../../src/protocol/rules.ts'
import { ScheduleJson } from '../../src/protocol/schedule.ts'
import { ExplainJson, StateChangeJson } from '../../src/protocol/state-change.ts'
import { NewTaskJson, ScreenJson, TaskJson, TaskSummaryJson } from '../../src/protocol/task.ts'
import { TemplateJson } from '../../src/protocol/template.ts'
import { AppliedJson, DiffJson, DiscardedJson } from '../../src/protocol/workspace.ts'

type Name = keyof DaemonClient
/** What a function promises; of the live events one. */
type Promised<N extends Name> = N extends 'liveEvents' ? LiveMessage : Awaited<ReturnType<DaemonClient[N]>>

/** The one route that is asked, what comes of it, and how the function is called; `did`: what the daemon was told. */
export type Row<T> = [
  route: string,
  promised: z.ZodType<T>,
  call: (client: DaemonClient) => Promise<T>,
  did?: unknown[][],
]

const TIME = '2026-01-01T00:00:00.000Z'
const schedule = { prompt: 'Do it.', project: 'app', name: 'nightly', cron: '0 7 * * *', time_zone: 'UTC' }

/** Every function with all its arguments, on the daemon of `seeded`. A new function needs a row here. */
export const CALLS: { [N in Name]: Row<Promised<N>> } = {
  health: ['GET /health', HealthJson, (client) => client.health()],
  status: ['GET /api/status', StatusJson, (client) => client.status()],
  workers: ['GET /api/workers', z.array(WorkerJson).nonempty(), (client) => client.workers()],
  createTask: [
    'POST /api/tasks',
    z.strictObject({ task: NewTaskJson, inserted: z.literal(true) }),
    (client) => client.createTask({ prompt: 'x', dir: '/x' }),
    [['insert', expect.objectContaining({ prompt: 'x', dir: '/x' })]],
  ],
  tasks: [
    'GET /api/tasks',
    z.array(TaskSummaryJson).nonempty(),
    async (client) => {
      await client.tasks({ before: 'x', limit: 1 })
      return client.tasks({ status: 'queued', project: 'app', sort: '-created_at', limit: 1 })
    },
  ],
  task: ['GET /api/tasks/:id', TaskJson, (client) => client.task('x')],
  events: [
    'GET /api/tasks/:id/events',
    z.array(HookEventJson).nonempty(),
    async (client) => {
      await client.events('x', { kind: 'other', tool: 'Bash', since: TIME, until: TIME })
      return client.events('x', { name: 'Stop', after: 0, limit: 5 })
    },
  ],
  timeline: ['GET /api/tasks/:id/timeline', TimelineJson, (client) => client.timeline('x')],
  search: [
    'GET /api/search',
    z.array(SearchHitJson).nonempty(),
    (client) => client.search('ls', { project: 'app', since: TIME, limit: 5 }),
  ],
  explain: ['GET /api/tasks/:id/explain', ExplainJson, (client) => client.explain('x')],
  result: [
    'GET /api/tasks/:id/result',
    ResultJson.refine(({ result }) => result !== null),
    (client) => client.result('x'),
  ],
  screen: ['GET /api/tasks/:id/screen', ScreenJson, (client) => client.screen('x'), [['screen', 'x']]],
  cancel: [
    'POST /api/tasks/:id/cancel',
    CancelJson,
    async (client) => {
      await client.cancel('x')
      return client.cancel('x', 'why')
    },
    [
      ['cancel', 'x', 'Cancelled by a person.'],
      ['cancel', 'x', 'why'],
    ],
  ],
  retry: ['POST /api/tasks/:id/retry', RetryJson, (client) => client.retry('x'), [['retry', 'x']]],
  diff: [
    'GET /api/tasks/:id/diff',
    DiffJson,
    async (client) => {
      await client.diff('x')
      return client.diff('x', true)
    },
  ],
  apply: ['POST /api/tasks/:id/apply', AppliedJson, (client) => client.apply('x', 'checkout')],
  discard: ['POST /api/tasks/:id/discard', DiscardedJson, (client) => client.discard('x')],
  approve: [
    'POST /api/tasks/:id/approve',
    TaskJson,
    async (client) => {
      await client.approve('x')
      return client.approve('x', 'ask1')
    },
    [
      ['approve', 'x', null],
      ['approve', 'x', 'ask1'],
    ],
  ],
  deny: [
    'POST /api/tasks/:id/deny',
    TaskJson,
    async (client) => {
      await client.deny('x')
      return client.deny('x', 'no', 'ask1')
    },
    [
      ['deny', 'x', null, null],
      ['deny', 'x', 'no', 'ask1'],
    ],
  ],
  send: [
    'POST /api/tasks/:id/send',
    TaskJson,
    async (client) => {
      await client.send('x', 'blue')
      return client.send('x', 'blue', 'ask1')
    },
    [
      ['send', 'x', 'blue', null],
      ['send', 'x', 'blue', 'ask1'],
    ],
  ],
  sendToAll: [
    'POST /api/agents/send',
    BroadcastJson,
    (client) => client.sendToAll({ text: 'hi', project: 'app' }),
    [['send', 'x', 'hi', null]],
  ],
  projects: ['GET /api/projects', z.array(ProjectJson).nonempty(), (client) => client.projects()],
  project: ['GET /api/projects/:name', ProjectJson, (client) => client.project('app')],
  addProject: [
    'POST /api/projects',
    ProjectJson,
    (client) => client.addProject({ dir: '/x', name: 'new', trust: true }),
    [['addProject', '/x', 'new', true]],
  ],
  updateProject: [
    'PATCH /api/projects/:name',
    ProjectJson,
    (client) => client.updateProject('app', { paused: true }),
    [['updateProject', 'app', { paused: true }]],
  ],
  removeProject: [
    'DELETE /api/projects/:name',
    ProjectJson,
    (client) => client.removeProject('app'),
    [['removeProject', 'app']],
  ],
  trustProject: [
    'POST /api/projects/:name/trust',
    ProjectJson,
    (client) => client.trustProject('app'),
    [['trust', 'app']],
  ],
  rules: [
    'GET /api/projects/:name/rules',
    z.array(PermissionRuleJson).nonempty(),
    (client) => client.rules('app'),
  ],
  changeRules: [
    'POST /api/projects/:name/rules',
    z.array(PermissionRuleJson).nonempty(),
    (client) =>
      client.changeRules('app', { set: [{ effect: 'deny', rule: 'Bash(rm:*)' }], remove: ['Bash(ls)'] }),
    [['changeRules', 'app', { set: [{ effect: 'deny', rule: 'Bash(rm:*)' }], remove: ['Bash(ls)'] }]],
  ],
  incidents: [
    'GET /api/incidents',
    z.array(IncidentJson).nonempty(),
    (client) => client.incidents({ limit: 5, open: 1 }),
  ],
  audit: [
    'GET /api/audit',
    z.array(AuditJson).nonempty(),
    (client) => client.audit({ limit: 5, since: TIME, who: 'ada' }),
  ],
  schedules: ['GET /api/schedules', z.array(ScheduleJson).nonempty(), (client) => client.schedules()],
  schedule: ['GET /api/schedules/:name', ScheduleJson, (client) => client.schedule('app')],
  addSchedule: [
    'POST /api/schedules',
    ScheduleJson,
    (client) => client.addSchedule(schedule),
    [['addSchedule', expect.objectContaining({ name: 'nightly', cron: '0 7 * * *', timeZone: 'UTC' })]],
  ],
  pauseSchedule: [
    'POST /api/schedules/:name/pause',
    ScheduleJson,
    (client) => client.pauseSchedule('app'),
    [['setPaused', 'app', true]],
  ],
  resumeSchedule: [
    'POST /api/schedules/:name/resume',
    ScheduleJson,
    (client) => client.resumeSchedule('app'),
    [['setPaused', 'app', false]],
  ],
  removeSchedule: [
    'DELETE /api/schedules/:name',
    ScheduleJson,
    (client) => client.removeSchedule('app'),
    [['removeSchedule', 'app']],
  ],
  runSchedule: [
    'POST /api/schedules/:name/run',
    TaskJson,
    (client) => client.runSchedule('app'),
    [['runSchedule', 'app']],
  ],
  templates: ['GET /api/templates', z.array(TemplateJson).nonempty(), (client) => client.templates()],
  template: ['GET /api/templates/:name', TemplateJson, (client) => client.template('review')],
  addTemplate: [
    'POST /api/templates',
    TemplateJson,
    (client) => client.addTemplate({ name: 'new', prompt: 'Do it.' }),
  ],
  putTemplate: [
    'PUT /api/templates/:name',
    TemplateJson,
    (client) => client.putTemplate('app', { prompt: 'Do it.' }),
  ],
  removeTemplate: ['DELETE /api/templates/:name', TemplateJson, (client) => client.removeTemplate('app')],
  inbox: [
    'GET /api/inbox',
    z.array(InboxEntryJson).nonempty(),
    (client) => client.inbox({ state: 'waiting', limit: 5 }),
  ],
  inboxEntry: ['GET /api/inbox/:id', InboxEntryJson, (client) => client.inboxEntry('1')],
  approveEntry: ['POST /api/inbox/:id/approve', InboxEntryJson, (client) => client.approveEntry('1')],
  refuseEntry: [
    'POST /api/inbox/:id/refuse',
    InboxEntryJson.refine(({ reason }) => reason === 'why'),
    (client) => client.refuseEntry('1', 'why'),
  ],
  keys: ['GET /api/keys', z.array(KeyJson).nonempty(), (client) => client.keys()],
  createKey: ['POST /api/keys', NewKeyJson, (client) => client.createKey({ name: 'new', scopes: ['read'] })],
  revokeKey: ['POST /api/keys/:id/revoke', KeyJson, (client) => client.revokeKey('x')],
  revokeUser: ['POST /api/users/:id/revoke', RevokedUserJson, (client) => client.revokeUser('ada')],
  shutdown: ['POST /api/shutdown', ShutdownJson, (client) => client.shutdown('end'), [['shutdown', 'end']]],
  liveEvents: [
    'GET /api/events',
    z.discriminatedUnion('event', [
      z.strictObject({ event: z.literal('hook'), data: HookEventJson, id: z.string() }),
      z.strictObject({ event: z.literal('state'), data: StateChangeJson, id: z.string() }),
      z.strictObject({ event: z.literal('task'), data: TaskJson, id: z.string() }),
    ]),
    async (client) => {
      const events = client.liveEvents({ task: 'x', replay: true })
      const { value, done } = await events.next()
      await events.return(undefined)
      if (done === true) throw new Error('There was no event.')
      return value
    },
  ],
}

/** For other programs than those that use the client. */
export const NOT_OF_THE_CLIENT = [
  'GET /health/tmux',
  'GET /health/supabase',
  'GET /metrics',
  'GET /api/agents',
  'GET /api/systems',
  'GET /api/usage',
  'POST /internal/spawn-agent',
  'POST /internal/kill-agent',
  'GET /internal/agent-status',
  'POST /internal/attempts/:task/:attempt/permission',
  'POST /webhook/github',
  'POST /webhook/prometheus',
  'POST /webhook/telegram',
  'GET /openapi.json',
  'GET /docs',
]
