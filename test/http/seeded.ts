import { PLAIN_TASK } from '../../src/core/task/task.ts'
import { createApiKey } from '../../src/http/identity/api-key.ts'
import { createFakeDaemon } from './fake-daemon.ts'
import { anyHooks, createFakeInbox, REVIEW, fakeWebhooks } from './fake-inbox.ts'

const OUTCOME = { taskId: null, isOver: false, decidedBy: null, settledAt: null, told: null, toldRef: null }
const COUNTS = { tries: 0, dueAt: 0, receivedAt: 0, tellTries: 0 }

/** A fake daemon in which the project `app` has one of everything, by the names in the table's requests; `other` has nothing. */
export async function seeded() {
  const daemon = createFakeDaemon({
    heartbeatMs: 20,
    webhooks: fakeWebhooks({
      ...anyHooks(),
      accept: (entries) =>
        entries.map((entry, index) => ({
          entry: { ...entry, ...OUTCOME, ...COUNTS, id: index + 1 },
          isNew: true,
        })),
    }),
    inbox: createFakeInbox([
      {
        ...OUTCOME,
        ...COUNTS,
        id: 1,
        key: 'gh:1',
        source: 'github',
        project: 'app',
        state: 'waiting',
        title: 'It breaks',
        sender: 'octo',
        task: { ...PLAIN_TASK, prompt: 'Do it.', priority: null, source: 'github' },
        origin: { kind: 'github', repository: 'octo/app', number: 1 },
        reason: null,
      },
    ]),
    incidents: async ({ projects }) =>
      (projects ?? ['app']).includes('app')
        ? [
            {
              id: 1,
              kind: 'agent_failed',
              key: 'task:x',
              what: 'An agent of app ended without a result.',
              evidence: '',
              action: '',
              alert: false,
              taskId: 'x',
              attempt: 1,
              openedAt: 0,
              closedAt: null,
              notices: [],
            },
          ]
        : [],
    work: {
      diff: async () => 'diff',
      apply: async (_id, how) => ({ how, commit: 'c', files: 1, top: '/app', branch: null }),
      discard: async () => ({ commit: 'c', top: '/app', branch: 'b' }),
    },
    isSecretOf: (_task, _attempt, secret) => secret === 'attempt-secret',
  })
  const { deps, calls, addTask, addHook } = daemon
  addTask('x')
  addHook('x', 'Stop')
  const { insert } = deps.tasks
  deps.tasks.insert = async (request) => {
    const added = await insert(request)
    return { ...added, view: { ...added.view, agent: { ...added.view.agent, window: 'app-1' } } }
  }
  deps.agents = async () => [await deps.tasks.get('x')].filter((view) => view !== null)
  // Over all projects; the queue has one task, which is of this one.
  const status = await deps.status()
  deps.status = async () => ({ ...status, queued: 1 })
  deps.systems = async () => [{ id: 'local', queued: 1, running: 0 }]
  deps.record.search = async ({ project }) =>
    project === null || project === 'app'
      ? [
          {
            id: 1,
            taskId: 'x',
            attempt: 1,
            at: 0,
            project: 'app',
            kind: 'bash_command',
            tool: 'Bash',
            snippet: 'ls',
          },
        ]
      : []
  await deps.projects.add({ dir: '/code/other', name: 'other', trust: false })
  await deps.schedules.add({
    dir: null,
    project: 'app',
    name: 'app',
    cron: '@daily',
    timeZone: 'UTC',
    missed: 'skip',
    overlap: false,
    task: { ...PLAIN_TASK, prompt: 'Do it.', priority: null },
  })
  deps.templates.stored.put({ ...REVIEW, name: 'app' })
  createApiKey(deps.keys, { name: 'x', scopes: ['read'], projects: null, expiresAt: null }, 0)
  calls.length = 0
  return daemon
}
