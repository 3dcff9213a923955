import { isDeepStrictEqual } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { createDaemonClient } from '../../src/client/daemon-client.ts'
import type { AuditEntry } from '../../src/core/audit.ts'
import type { TaskResult } from '../../src/core/task/task.ts'
import { routesOf } from '../../src/http/app.ts'
import type { AppDeps } from '../../src/http/deps.ts'
import { listen } from '../../src/http/listen.ts'
import { createApp } from './checked-app.ts'
import { CALLS, NOT_OF_THE_CLIENT, type Row } from './client-calls.ts'
import { TOKEN } from './fake-daemon.ts'
import { seeded } from './seeded.ts'

const RESULT: TaskResult = {
  text: 'Done.',
  tools: [],
  files: [{ path: 'a.ts', change: 'added', added: 1, removed: 0 }],
  usage: {
    m: { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 3, cache_creation_input_tokens: 4 },
  },
  cost_usd: 0.5,
  duration_ms: 10,
  attempts: 1,
  claude_session_id: 'c0ffee',
  resume_command: 'claude --resume c0ffee',
  errors: [],
}
const AUDIT: AuditEntry = {
  id: 1,
  at: 0,
  kind: 'key',
  who: 'ada',
  action: 'POST /api/tasks',
  target: 'x',
  taskId: 'x',
  project: 'app',
  origin: 'socket',
  status: 201,
  code: null,
  requestId: 'r',
}

/** The daemon of `seeded` on a socket, with a client of it; `asked`: the patterns of the routes that answered. */
async function serve() {
  const daemon = await seeded()
  let port = 0
  const asked = new Set<string>()
  const deps: AppDeps = {
    ...daemon.deps,
    names: { port: () => port, public: [] },
    rules: { ...daemon.deps.rules, of: async () => [{ effect: 'allow', rule: 'Bash(ls)', place: 1 }] },
    audits: async () => [AUDIT],
    answered: (route, method) => void asked.add(`${method} ${route}`),
  }
  daemon.addTask('x', { result: RESULT })
  const server = await listen(createApp(deps), { host: '127.0.0.1', port: 0 })
  port = server.port
  onTestFinished(() => server.close(0))
  const client = createDaemonClient({ baseUrl: `http://127.0.0.1:${port}`, token: TOKEN })
  return { ...daemon, deps, client, asked }
}

test('every function of the client and every route has its row', async () => {
  const { client, deps } = await serve()
  expect(Object.keys(client).sort()).toEqual(Object.keys(CALLS).sort())
  const called = Object.values(CALLS).map(([route]) => route)
  const routes = routesOf(deps).map(({ method, path }) => `${method} ${path}`)
  expect([...called, ...NOT_OF_THE_CLIENT].sort()).toEqual(routes.sort())
})

test.each(Object.entries(CALLS) as [string, Row<unknown>][])(
  '%s asks its route as the daemon wants it, and gets what its type promises',
  async (_, [route, promised, call, did]) => {
    const { client, asked, calls } = await serve()
    const got = await call(client)
    expect([...asked]).toEqual([route])
    const parsed = promised.safeParse(got)
    expect(parsed.error?.issues ?? []).toEqual([])
    // A field that the type does not know.
    expect(isDeepStrictEqual(parsed.data, got)).toBe(true)
    expect(did === undefined ? undefined : calls).toEqual(did)
  },
)
