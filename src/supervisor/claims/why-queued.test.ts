import { expect, test } from 'vitest'
import { defaultProjectSettings } from '../../core/task/project.ts'
import type { Task } from '../../core/task/task.ts'
import type { Project } from '../../store/projects.ts'
import { whyQueued } from './why-queued.ts'

const NOW = Date.UTC(2026, 0, 2)
const LATER = Date.UTC(2026, 0, 3)
type Deps = Parameters<typeof whyQueued>[1]

/** The reason of a task of project `app` that nothing keeps but what is given. */
function why(
  more: { task?: Partial<Task>; project?: Partial<Project> | null; deps?: Partial<Deps> } = {},
): Promise<string | null> {
  const project: Project = {
    ...defaultProjectSettings(),
    name: 'app',
    dir: '/app',
    trusted: true,
    createdAt: 1,
    ...more.project,
  }
  const task = {
    id: 't1',
    project: 'app',
    role: null,
    labels: [],
    onlyWorker: null,
    dependsOn: [],
    scheduledAt: NOW,
    resumeWorker: null,
    resumeUntil: null,
    ...more.task,
  } as Partial<Task> as Task
  return whyQueued(task, {
    queue: { dependencies: async () => [], list: async () => [] },
    projects: { byName: () => (more.project === null ? null : project) },
    worker: 'w',
    takes: { roles: null, labels: [], elsewhere: false },
    spent: () => null,
    holds: () => [],
    holder: () => null,
    lastReason: () => null,
    clock: () => NOW,
    ...more.deps,
  })
}
const hold = (kind: string, sentence: string) => () => [{ kind, sentence, until: null }]

test('a task that nothing keeps has no reason to wait', async () => {
  expect(await why()).toBe(null)
  const takes = { roles: ['review'], labels: ['gpu', 'eu'], elsewhere: false }
  expect(await why({ task: { labels: ['gpu'], role: 'review' }, deps: { takes } })).toBe(null)
  expect(await why({ task: { role: 'review' } })).toBe(null)
  expect(await why({ task: { onlyWorker: 'w', resumeWorker: 'w', resumeUntil: LATER } })).toBe(null)
})

test.each<[string, Parameters<typeof why>[0], string]>([
  ['project', { project: null }, 'project: this machine has no project app.'],
  ['trust', { project: { trusted: false } }, 'To trust it: ccm projects trust app'],
  ['paused', { project: { paused: true } }, 'To go on: ccm projects set app paused=no'],
  ['worker', { task: { onlyWorker: 'v' } }, 'worker: it is for worker v only.'],
  [
    'label',
    { task: { labels: ['gpu'] } },
    'label: no worker here has gpu. It waits until labels of [agents]',
  ],
  [
    'label, elsewhere',
    {
      task: { labels: ['gpu', 'eu'] },
      deps: { takes: { roles: null, labels: ['eu'], elsewhere: true } },
    },
    'label: no worker here has gpu. It waits for a worker of another machine.',
  ],
  [
    'role',
    { task: { role: 'review' }, deps: { takes: { roles: ['build'], labels: [], elsewhere: false } } },
    'role: no worker here takes tasks of role review. It waits until roles of [agents]',
  ],
  [
    'dependency',
    {
      task: { dependsOn: ['t2', 't3', 't4'] },
      deps: {
        queue: {
          dependencies: async () => [
            { id: 't2', status: 'succeeded' },
            { id: 't3', status: 'running' },
            { id: 't4', status: 'queued' },
          ],
          list: async () => [],
        },
      },
    },
    'dependency: it waits for task t3 (running) and 1 more.',
  ],
  ['scheduled', { task: { scheduledAt: LATER } }, 'scheduled: it starts at 2026-01-03T00:00:00.000Z.'],
  [
    'scheduled, again',
    { task: { scheduledAt: LATER }, deps: { lastReason: () => 'It crashed.' } },
    'Last time: It crashed.',
  ],
  [
    'reserved',
    { task: { resumeWorker: 'v', resumeUntil: LATER } },
    'reserved: worker v has its session and may go on with it until 2026-01-03T00:00:00.000Z.',
  ],
  [
    'limit',
    {
      project: { maxRunning: 1 },
      deps: { queue: { dependencies: async () => [], list: async () => [{} as Task] } },
    },
    'To raise it: ccm projects set app max_running=N',
  ],
  ['directory', { deps: { holder: () => 't9' } }, 'directory: task t9 works in /app, one agent at a time.'],
  [
    'budget',
    { deps: { spent: () => 'Its tokens are used up.' } },
    'budget: Its tokens are used up. It goes on',
  ],
  ['slots', { deps: { holds: hold('slots', 'All 3 agents are busy.') } }, 'slots: All 3 agents are busy.'],
])('a task that waits says so, with what helps: %s', async (name, given, sentence) => {
  const said = await why(given)
  expect(said).toContain(sentence)
  expect(said?.startsWith(`${name.split(',')[0]}: `)).toBe(true)
})

test('what lasts is said before what ends by itself', async () => {
  const parked = { scheduledAt: LATER }
  const limit = { holds: hold('limit', 'The usage limit is reached.') }
  expect(await why({ task: parked, deps: limit })).toBe('limit: The usage limit is reached.')
  const busy = { holds: hold('slots', 'All 3 agents are busy.') }
  expect(await why({ task: parked, deps: busy })).toMatch(/^scheduled: /)
  expect(await why({ deps: { ...busy, holder: () => 't9' } })).toMatch(/^directory: /)
  expect(await why({ task: { ...parked, labels: ['gpu'] }, deps: limit })).toMatch(/^label: /)
  expect(await why({ task: parked, project: { trusted: false }, deps: limit })).toMatch(/^trust: /)
})

test('what was reserved, met or below its limit before keeps nothing any more', async () => {
  expect(await why({ task: { resumeWorker: 'v', resumeUntil: NOW } })).toBe(null)
  expect(await why({ project: { maxRunning: 2 } })).toBe(null)
  const queue: Deps['queue'] = {
    dependencies: async () => [{ id: 't2', status: 'succeeded' }],
    list: async () => [],
  }
  expect(await why({ task: { dependsOn: ['t2'] }, deps: { queue } })).toBe(null)
})
