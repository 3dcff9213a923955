import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { SCOPES } from '../../src/core/principal.ts'
import { routesOf } from '../../src/http/app.ts'
import { createIncidents } from '../../src/store/incidents.ts'
import { createInboxStore } from '../../src/store/inbox.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createApp } from './checked-app.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'
import { fakeProject } from './fake-projects.ts'

/** A daemon with something in each of its lists, much of it alike. */
async function start() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const numbers = [1, 2, 3, 4, 5, 6, 7]
  const inbox = createInboxStore(db)
  const incidents = createIncidents(db)
  const addTask = db.prepare<{ id: string; project: string }>(
    `INSERT INTO tasks (id, system, project, prompt, priority, allowed_tools, disallowed_tools, status, attempt,
       failures, lost_leases, scheduled_at, cancel_requested, created_at)
     VALUES (:id, 'local', :project, 'x', 0, '[]', '[]', 'queued', 0, 0, 0, 1, 0, 1)`,
  )
  const projectOf = (n: number) => (n % 2 === 0 ? 'app' : 'other')
  for (const n of numbers) {
    addTask.run({ id: `t${n}`, project: projectOf(n) })
    const about = { kind: 'agent_failed', what: 'x', evidence: '', action: '', alert: false } as const
    incidents.open({ ...about, key: `k${n}`, taskId: `t${n}`, attempt: 1, openedAt: n }, [])
    const task = { prompt: 'x' } as never
    const entry = {
      key: `k${n}`,
      source: 'github',
      project: projectOf(n),
      state: 'waiting',
      title: 'x',
    } as const
    inbox.accept(
      [{ ...entry, sender: null, task, origin: { kind: 'telegram', chat: '1' } as never, reason: null }],
      n,
    )
  }
  const newestFirst = numbers.toReversed()
  const fake = createFakeDaemon()
  const audit = { at: 0, kind: 'key', who: 'k', action: 'x', target: null, taskId: null, project: null }
  const daemon = createFakeDaemon({
    inbox: { ...fake.deps.inbox, list: async (query) => inbox.list(query) },
    incidents: async (query) => incidents.list(query),
    audits: async ({ before, limit }) =>
      newestFirst
        .filter((id) => id < (before ?? 99))
        .slice(0, limit)
        .map((id) => ({ ...audit, id, origin: 'socket', status: 200, code: null, requestId: null })),
    projects: {
      ...fake.deps.projects,
      list: async () => numbers.map((n) => fakeProject(n === 1 ? 'app' : `p${n}`, `/${n}`)),
    },
    systems: async () => numbers.map((n) => ({ id: `s${n}`, queued: 0, running: 0 })),
    workers: async () => {
      const [worker] = await fake.deps.workers()
      return worker === undefined ? [] : numbers.map((n) => ({ ...worker, id: `w${n}`, seenAt: n % 2 }))
    },
    agents: async () => {
      const views = await Promise.all(numbers.map((n) => daemon.deps.tasks.get(`t${n}`)))
      return views.filter((view) => view !== null)
    },
    rules: {
      ...fake.deps.rules,
      of: async () => numbers.map((n) => ({ effect: 'allow' as const, rule: `Bash(${9 - n})`, place: n })),
    },
    record: {
      ...fake.deps.record,
      search: async ({ before, limit }) =>
        newestFirst
          .filter((id) => id < (before ?? 99))
          .slice(0, limit)
          .map(
            (id) =>
              ({
                id,
                taskId: 't1',
                attempt: 1,
                at: 0,
                project: 'app',
                kind: 'stop',
                tool: null,
                snippet: '',
              }) as never,
          ),
    },
  })
  for (const n of numbers) {
    const over = n > 4 ? ({ status: 'failed', finishedAt: n % 2 } as const) : {}
    daemon.addTask(`t${n}`, { project: projectOf(n), priority: n % 2, startedAt: n % 3, ...over })
    daemon.addHook('t1', 'Stop')
    const key = { name: `key-${n % 3}`, scopes: [...SCOPES], projects: null, createdAt: n % 2 }
    daemon.deps.keys.insert(
      { ...key, id: `k${n}`, expiresAt: null, lastUsedAt: n > 5 ? n : null, revokedAt: null },
      '',
    )
    const task = {
      prompt: 'x',
      role: null,
      model: null,
      priority: null,
      timeoutS: null,
      permissionMode: null,
    }
    const more = { allowedTools: [], disallowedTools: [], onlyWorker: null }
    const times = { cron: '0 6 * * *', timeZone: 'UTC', missed: 'skip', overlap: false } as const
    await daemon.deps.schedules.add({
      ...times,
      dir: null,
      project: projectOf(n),
      name: `n${9 - n}`,
      task: { ...task, ...more },
    })
  }
  const app = createApp(daemon.deps)
  const ask = async (path: string, credential = 'right-token') => {
    const headers = rightful({ authorization: `Bearer ${credential}` })
    const reply = await app.request(path, { headers })
    const next = /^<(.*)>; rel="next"$/.exec(reply.headers.get('link') ?? '')?.[1] ?? null
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown>[], next }
  }
  const walk = async (first: string, credential?: string) => {
    const pages: Record<string, unknown>[][] = []
    for (let path: string | null = first; path !== null;) {
      const { body, next }: Awaited<ReturnType<typeof ask>> = await ask(path, credential)
      pages.push(body)
      path = next
    }
    return pages
  }
  return { daemon, ask, walk }
}

/** All routes that answer a list: whoever adds one is held to the rule. */
const LISTS = routesOf(createFakeDaemon().deps).filter(
  ({ method, reply }) => method === 'GET' && reply instanceof z.ZodArray,
)

test('there are lists, and each takes a limit, a cursor and an order', () => {
  expect(LISTS.map(({ path }) => path).sort()).toEqual(
    [
      'agents',
      'audit',
      'inbox',
      'incidents',
      'keys',
      'projects',
      'projects/:name/rules',
      'schedules',
      'search',
      'systems',
      'tasks',
      'tasks/:id/events',
      'templates',
      'workers',
    ].map((path) => `/api/${path}`),
  )
})

test.each(LISTS.map((route) => [route.path, route] as const))(
  '%s has everything once over pages of any size, in each of its orders',
  async (path, { query }) => {
    const { ask, walk } = await start()
    const { sort } = (query as z.ZodObject<{ sort: z.ZodDefault<z.ZodEnum> }>).shape
    const url = `${path.replace(':id', 't1').replace(':name', 'app')}?${path === '/api/search' ? 'q=x&' : ''}`
    for (const order of sort.unwrap().options) {
      const all = (await ask(`${url}sort=${order}`)).body
      for (const limit of [1, 2, 3, 7, 100]) {
        const pages = await walk(`${url}sort=${order}&limit=${limit}`)
        expect([order, limit, pages.flat()]).toEqual([order, limit, all])
        expect(pages.map(({ length }) => length).slice(0, -1)).toEqual(
          Array.from({ length: pages.length - 1 }, () => limit),
        )
        expect(pages).toHaveLength(Math.max(1, Math.ceil(all.length / limit)))
      }
    }
    const [first] = sort.unwrap().options
    expect((await ask(`${url}limit=100`)).body).toEqual((await ask(`${url}sort=${first}`)).body)
    expect((await ask(url)).body.length).toBeGreaterThan(path === '/api/templates' ? 0 : 3)
    for (const bad of ['cursor=x', 'cursor=W10', 'sort=none', 'limit=0', `cursor=${cursorOf(['x', 1, 1])}`])
      expect([bad, (await ask(`${url}${bad}`)).status]).toEqual([bad, 400])
  },
)

test('a rule that is removed between two pages shifts none of the others', async () => {
  const { ask, daemon } = await start()
  const { next } = await ask('/api/projects/app/rules?limit=3')
  const [, ...rest] = await daemon.deps.rules.of('app')
  daemon.deps.rules.of = async () => rest
  const { body } = await ask(next ?? '')
  expect(body.map(({ rule }) => rule)).toEqual(['Bash(5)', 'Bash(4)', 'Bash(3)'])
})

test('a cursor is good for its own order only, and for no other kind of list', async () => {
  const { ask } = await start()
  const { next } = await ask('/api/tasks?limit=1&sort=-priority')
  expect((await ask((next ?? '').replace('sort=-priority', 'sort=priority'))).status).toBe(400)
  for (const cursor of [['-id', null, 'x'], ['-id', null, 1.5], ['-id', {}, 1], { length: 3 }])
    expect((await ask(`/api/inbox?cursor=${cursorOf(cursor)}`)).status).toBe(400)
  expect((await ask(`/api/tasks?cursor=${cursorOf(['-created_at', null, 7])}`)).status).toBe(400)
  expect((await ask('/api/tasks?sort=-priority&before=t3')).status).toBe(400)
})

test.each(['/api/tasks', '/api/inbox', '/api/incidents', '/api/agents', '/api/schedules'])(
  '%s: a key of one project gets whole pages of what it may see',
  async (path) => {
    const { walk } = await start()
    const key = path === '/api/inbox' ? 'operate-key' : 'read-key'
    const pages = await walk(`${path}?limit=2`, key)
    expect(pages.map(({ length }) => length)).toEqual([2, 1])
    const foreign = pages.flat().filter((row) => 'project' in row && row['project'] !== 'app')
    expect(foreign).toEqual([])
    const tasks = pages.flat().flatMap((row) => (path === '/api/incidents' ? [row['task_id']] : ['t2']))
    expect(tasks.filter((id) => !['t2', 't4', 't6'].includes(String(id)))).toEqual([])
  },
)

test('a list of tasks has neither results nor more than the beginnings of prompts', async () => {
  const { daemon, ask } = await start()
  daemon.addTask('t9', { result: { text: 'secret of another page' } as never })
  const [task] = (await ask('/api/tasks?limit=1')).body
  expect(task).toMatchObject({ id: 't9' })
  expect(Object.keys(task ?? {})).not.toContain('result')
})

function cursorOf(parts: unknown): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url')
}
