import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import { openForTest } from '../../src/store/temporary-database.ts'

// What people and programs ask of a queue that it cannot do, against a whole daemon: by `ccm`, and over HTTP.

const CCM = resolve(import.meta.dirname, '../../bin/ccm.js')
const MAX_QUEUED = 3
const folder = mkdtempSync(join(tmpdir(), 'ccm-input-'))
const home = join(folder, 'home')
const work = join(folder, 'app')
const env = {
  PATH: process.env['PATH'] ?? '',
  HOME: folder,
  CCM_HOME: home,
  CCM_CONFIG: join(folder, 'ccm.toml'),
  NODE_COMPILE_CACHE: join(folder, 'cache'),
}
const ccm = async (...args: string[]) => {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [CCM, ...args], {
    env,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  })
  return { exitCode, stdout, stderr }
}
const run = (...args: string[]) => ccm('run', 'x', '--dir', work, '--no-wait', ...args)

async function http(method: string, path: string, body: object = {}) {
  const { host, port } = JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')) as {
    host: string
    port: number
  }
  const response = await fetch(`http://${host}:${port}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${readFileSync(join(home, 'token'), 'utf8').trim()}`,
      'content-type': 'application/json',
    },
    ...(method !== 'GET' && { body: JSON.stringify(body) }),
  })
  const { status, headers } = response
  return {
    status,
    retryAfter: headers.get('retry-after'),
    body: (await response.json()) as Record<string, unknown>,
  }
}
const post = (body: object) => http('POST', '/api/tasks', { prompt: 'x', dir: work, ...body })
const queued = async () =>
  ((await http('GET', '/api/tasks?status=queued')).body as unknown as TaskJson[]).length

beforeAll(async () => {
  mkdirSync(work)
  // No agent can be started: what is queued stays queued.
  const text = `[http]\nport = 0\n[queue]\nmax_queued = ${MAX_QUEUED}\n[claude]\ncommand = "/nonexistent/claude"\n`
  writeFileSync(env.CCM_CONFIG, text)
  const { exitCode, stderr } = await ccm('start')
  if (exitCode !== 0) throw new Error(stderr)
}, 60_000)

afterAll(async () => {
  await ccm('stop')
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}, 60_000)

const AFTER_51 = Array.from({ length: 51 }, (_, index) => `t${index}`)

test.each<[string, string[], number, RegExp, object, number, RegExp]>([
  [
    'a task that does not exist',
    ['--after', 'nosuch'],
    1,
    /no task nosuch/,
    { depends_on: ['nosuch'] },
    404,
    /no task nosuch/,
  ],
  [
    '51 dependencies',
    AFTER_51.flatMap((id) => ['--after', id]),
    2,
    /depends_on must have at most 50/,
    { depends_on: AFTER_51 },
    400,
    /depends_on must have at most 50/,
  ],
  [
    'priority 1000',
    ['--priority', '1000'],
    2,
    /whole number from -100 to 100/,
    { priority: 1000 },
    400,
    /priority/,
  ],
  ['an odd label', ['--label', 'GPU!'], 2, /label/, { labels: ['GPU!'] }, 400, /label/],
])(
  '%s is refused, says why, and adds nothing',
  async (_name, args, exitCode, sentence, body, status, detail) => {
    const before = await queued()
    const said = await run('--trust', ...args)
    expect(said).toMatchObject({ exitCode, stdout: '' })
    expect(said.stderr).toMatch(sentence)
    const reply = await post({ trust: true, ...body })
    expect(reply.status).toBe(status)
    expect(reply.body['detail']).toMatch(detail)
    expect(await queued()).toBe(before)
  },
  30_000,
)

test('a project that does not exist is refused, with the command that helps', async () => {
  const said = await ccm('run', 'x', '--project', 'nosuch', '--no-wait')
  expect(said).toMatchObject({ exitCode: 1, stdout: '' })
  expect(said.stderr).toMatch(/no project nosuch[^]*ccm projects add/)
  expect(await http('POST', '/api/tasks', { prompt: 'x', project: 'nosuch' })).toMatchObject({
    status: 404,
    body: { code: 'NOT_FOUND' },
  })
}, 30_000)

test('past times, cycles, double keys, running tasks and a full queue: each has its answer', async () => {
  const past = await run('--trust', '--at', '2020-01-01 10:00', '--key', 'k', '--label', 'gpu')
  expect(past.exitCode).toBe(0)
  expect(past.stderr).toMatch(/has passed: task \S+ starts now/)
  expect(past.stderr).toMatch(/label: no worker here has gpu/)
  const id = past.stdout
  expect((await ccm('show', id)).stdout).toMatch(/label: no worker here has gpu/)

  expect(await run('--key', 'k')).toMatchObject({ exitCode: 0, stdout: id })
  expect(await post({ dedupe_key: 'k' })).toMatchObject({ status: 200, body: { id } })
  expect(await queued()).toBe(1)

  // The only way to a cycle would be a task that waits for one that is not there yet.
  const later = await run('--after', id, '--at', '2020-01-01 10:00')
  expect(later.exitCode).toBe(0)
  expect(await http('PATCH', `/api/tasks/${id}`, { depends_on: [later.stdout] })).toMatchObject({
    status: 405,
  })

  expect(await post({ scheduled_at: '2020-01-01T10:00:00Z' })).toMatchObject({ status: 201 })
  expect(await queued()).toBe(MAX_QUEUED)
  const full = await run()
  expect(full).toMatchObject({ exitCode: 1, stdout: '' })
  expect(full.stderr).toMatch(/The queue is full: 3 tasks are waiting\.[^]*in 30 s/)
  expect(await post({})).toMatchObject({
    status: 429,
    retryAfter: '30',
    body: { code: 'QUEUE_FULL', retry_after_s: 30 },
  })
  // A key that is alive is found in a full queue too.
  expect(await run('--key', 'k')).toMatchObject({ exitCode: 0, stdout: id })

  const db = openForTest(join(home, 'ccm.db'), Date.now)
  try {
    const other = createSqliteQueue({
      db,
      system: 'local',
      worker: 'other',
      clock: Date.now,
      random: Math.random,
    })
    await other.register()
    const claimed = await other.claim(1, { projects: ['app'], roles: null, labels: ['gpu'] })
    expect(claimed.map((task) => task.id)).toEqual([id])
  } finally {
    db.close()
  }
  const retried = await ccm('retry', id)
  expect(retried.stdout + retried.stderr).toMatch(/running/)
  expect(await http('POST', `/api/tasks/${id}/retry`)).toMatchObject({ body: { code: 'CONFLICT' } })
  expect(await http('GET', `/api/tasks/${id}`)).toMatchObject({ body: { status: 'running', attempt: 1 } })
}, 60_000)
