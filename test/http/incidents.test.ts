import { expect, test } from 'vitest'
import type { Incident } from '../../src/core/incident/incident.ts'
import { createApp } from './checked-app.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'

const incidentOf = (id: number, taskId: string | null): Incident & { notices: [] } => ({
  id,
  kind: 'agent_failed',
  key: `task:${taskId}`,
  what: 'An agent ended without a result.',
  evidence: 'crash: status 3',
  action: 'Its task waits for its next attempt.',
  alert: false,
  taskId,
  attempt: 1,
  openedAt: 1000,
  closedAt: null,
  notices: [],
})

test('incidents are shown newest first; a credential for some projects sees only those of its tasks', async () => {
  const asked: unknown[] = []
  const daemon = createFakeDaemon({
    incidents: async (filter) => {
      asked.push(filter)
      return [incidentOf(2, 'x'), incidentOf(1, null)]
    },
  })
  daemon.addTask('x')
  const app = createApp(daemon.deps)
  const all = await app.request('/api/incidents?open=1&limit=5', { headers: rightful() })
  expect(await all.json()).toMatchObject([
    { id: 2, task_id: 'x', opened_at: '1970-01-01T00:00:01.000Z', closed_at: null, duration_ms: null },
    { id: 1, task_id: null },
  ])
  expect(asked).toEqual([{ limit: 6, open: true, projects: null, before: null }])
  await app.request('/api/incidents', { headers: rightful({ authorization: 'Bearer read-key' }) })
  expect(asked[1]).toEqual({ limit: 51, open: false, projects: ['app'], before: null })
})

test('a filter that is none is refused', async () => {
  const app = createApp(createFakeDaemon().deps)
  const { status } = await app.request('/api/incidents?limit=0', { headers: rightful() })
  expect(status).toBe(400)
})
