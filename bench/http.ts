import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { createApp } from '../src/http/app.ts'
import { createAuthenticate, type Authenticate } from '../src/http/identity/authenticate.ts'
import { listen } from '../src/http/listen.ts'
import { createUserTokens } from '../src/http/identity/user-token.ts'
import { openDatabase } from '../src/store/database.ts'
import { createFakeDaemon, createKeysInMemory, TOKEN } from '../test/http/fake-daemon.ts'
import { compare, median, type Bench, type Row } from './row.ts'
import { cpuMsOf } from './support/cpu.ts'

/** What a request costs: the whole HTTP side beside bare node:http, tokens, long lists, many listeners. */
export const bench: Bench = async () => [
  await health(),
  await tokens(),
  ...(await lists()),
  await listeners(),
]

/** CPU of the server process for one GET /health over a connection that stays open. */
async function health(): Promise<Row> {
  const servers = [await startServer('bare'), await startServer('ccm')] as const
  try {
    const [bare, ours]: [number[], number[]] = [[], []]
    for (const { port } of servers) await ask(port, 20_000)
    for (let round = 0; round < 7; round++) {
      for (const [server, costs] of [[servers[0], bare] as const, [servers[1], ours] as const]) {
        const before = cpuOf(server.child)
        await ask(server.port, 10_000)
        costs.push((cpuOf(server.child) - before) / 10)
      }
    }
    return compare('CPU of GET /health beside bare node:http', 'us', 1 / 1.3, bare, ours)
  } finally {
    for (const { child } of servers) child.kill()
  }
}

type Server = { child: ChildProcess; port: number }

async function startServer(kind: 'bare' | 'ccm'): Promise<Server> {
  const file = join(import.meta.dirname, 'support/http-server.ts')
  const child = spawn(process.execPath, [file, kind], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, port: Number(port.toString()) }
}

/** User and system time of all threads. */
function cpuOf(child: ChildProcess): number {
  return readdirSync(`/proc/${child.pid}/task`).reduce((sum, thread) => sum + cpuMsOf(Number(thread)), 0)
}

/** Asks for /health so many times, over eight connections, each answer before the next question. */
async function ask(port: number, times: number): Promise<void> {
  const question = `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const socket = connect(port, '127.0.0.1').setNoDelay()
      for (let left = times / 8; left > 0; left--) {
        socket.write(question)
        // The answer is smaller than a packet.
        const [answer] = (await once(socket, 'data')) as [Buffer]
        if (answer.toString('latin1', 9, 12) !== '200') throw new Error(answer.toString())
      }
      socket.destroy()
    }),
  )
}

/** A read with a user's token: verified each time, and as the daemon does it. */
async function tokens(): Promise<Row> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'a', alg: 'ES256' }] }
  const server = createServer((_request, response) => response.end(JSON.stringify(keys))).listen(
    0,
    '127.0.0.1',
  )
  await once(server, 'listening')
  const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const issuer = 'https://auth.example'
  const users = createUserTokens({ issuer, audience: 'authenticated', jwksUrl }, Date.now)
  const token = await new SignJWT({ role: 'authenticated' })
    .setProtectedHeader({ alg: 'ES256', kid: 'a' })
    .setIssuer(issuer)
    .setAudience('authenticated')
    .setSubject('user-1')
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(privateKey)
  const member = { scopes: ['read' as const], projects: null }
  const cached = createAuthenticate({
    token: 'x',
    keys: createKeysInMemory(),
    users,
    memberOf: async () => member,
    clock: Date.now,
  })
  const each: Authenticate = async (credential) => {
    const user = await users.read(credential)
    return typeof user === 'string' ? user : { kind: 'user', id: user.id, ...member }
  }
  const costOf = async (authenticate: Authenticate) => {
    const { deps, addTask } = createFakeDaemon({ authenticate, rate: 1_000_000 })
    addTask('a')
    const app = createApp(deps)
    const headers = { host: '127.0.0.1:8765', authorization: `Bearer ${token}` }
    const before = process.cpuUsage()
    for (let n = 0; n < 2000; n++) {
      const { status } = await app.request('/api/tasks/a', { headers })
      if (status !== 200) throw new Error(`answered ${status}`)
    }
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 2000
  }
  const [peer, ours]: [number[], number[]] = [[], []]
  await costOf(each)
  await costOf(cached)
  for (let round = 0; round < 5; round++) {
    peer.push(await costOf(each))
    ours.push(await costOf(cached))
  }
  server.close()
  return compare('CPU of a read with a JWT beside verifying it each time', 'us', 4, peer, ours)
}

const TASKS = 100_000

/** A real daemon with a long past: how long lists take, whatever they are narrowed to. */
async function lists(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-bench-'))
  const home = join(folder, 'home')
  mkdirSync(home)
  writeFileSync(join(folder, 'ccm.toml'), '[http]\nport = 0\nrate = 100000\n[queue]\nmax_queued = 100000\n')
  fill(join(home, 'ccm.db'))
  const env = {
    PATH: process.env['PATH'],
    HOME: folder,
    CCM_HOME: home,
    CCM_CONFIG: join(folder, 'ccm.toml'),
  }
  const ccm = resolve(import.meta.dirname, '../bin/ccm.js')
  const child = spawn(process.execPath, [ccm, 'daemon'], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    // It says where it listens once it is ready.
    await once(child.stderr, 'data')
    await sleep(1000)
    const { port } = JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')) as { port: number }
    const token = readFileSync(join(home, 'token'), 'utf8').trim()
    const agent = new Agent({ keepAlive: true })
    const rows: Row[] = []
    for (const query of [
      '',
      '?status=succeeded',
      '?status=queued',
      '?project=rare',
      '?project=rare&status=failed',
    ]) {
      const times: number[] = []
      const cpuBefore = cpuOf(child)
      for (let n = 0; n < 230; n++) {
        const before = performance.now()
        await get(port, `/api/tasks${query}`, token, agent)
        if (n >= 30) times.push(performance.now() - before)
      }
      const cpu = (cpuOf(child) - cpuBefore) / 230
      const p99 = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? NaN
      const name = `p99 of GET /api/tasks${query}, ${TASKS.toLocaleString('en')} tasks (median ${median(times).toFixed(1)}, CPU ${cpu.toFixed(1)})`
      rows.push({ name, peer: null, ours: p99, ratio: null, unit: 'ms', goal: 'below 20 ms' })
    }
    agent.destroy()
    return rows
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
    // It outlives its daemon, for the agents' sake.
    spawnSync('tmux', ['-S', join(home, 'tmux/tmux.sock'), 'kill-server'], { env })
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Tasks of 500 bytes with results of 1 KB; one in a hundred is queued, one in a thousand of the project `rare`. */
function fill(file: string): void {
  const migrationsDir = join(import.meta.dirname, '../migrations/sqlite')
  const db = openDatabase({ file, migrationsDir, clock: Date.now, onFull: () => {} })
  const begin = db.prepare<Record<string, never>, { sql: string }>(
    "SELECT sql FROM sqlite_master WHERE name = 'tasks_begin'",
  )
  const trigger = begin.get({})?.sql ?? ''
  db.prepare('DROP TRIGGER tasks_begin').run({})
  const result = JSON.stringify({
    text: 'x'.repeat(1000),
    tools: [],
    files: [],
    usage: {},
    cost_usd: 0.1,
    duration_ms: 1,
    attempts: 1,
    claude_session_id: null,
    resume_command: null,
    errors: [],
  })
  db.prepare<{ prompt: string; result: string; tasks: number }>(
    `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :tasks)
     INSERT INTO tasks (id, system, project, prompt, priority, allowed_tools, disallowed_tools, status, attempt, failures,
       lost_leases, scheduled_at, cancel_requested, result, created_at, started_at, finished_at)
     SELECT printf('000%09d', n), 'local', iif(n % 1000 = 0, 'rare', 'app-' || (n % 10)), :prompt, 0, '[]', '[]',
       iif(n % 100 = 1, 'queued', iif(n % 7 = 0, 'failed', 'succeeded')), iif(n % 100 = 1, 0, 1), 0, 0, n, 0,
       iif(n % 100 = 1, NULL, :result), n, iif(n % 100 = 1, NULL, n), iif(n % 100 = 1, NULL, unixepoch() * 1000) FROM n`,
  ).run({ prompt: 'p'.repeat(500), result, tasks: TASKS })
  db.prepare(trigger).run({})
  db.close()
}

function get(port: number, path: string, token: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { port, path, agent, headers: { authorization: `Bearer ${token}`, host: `127.0.0.1:${port}` } },
      (reply) => {
        if (reply.statusCode !== 200) reject(new Error(`${path} answered ${reply.statusCode}`))
        reply.resume().on('end', resolve)
      },
    )
    asked.on('error', reject).end()
  })
}

const LISTENERS = 200

/** From the commit of an event until the last of 200 live streams has it. */
async function listeners(): Promise<Row> {
  let port = 0
  const daemon = createFakeDaemon({ rate: 1_000_000, names: { port: () => port, public: [] } })
  daemon.addTask('a')
  const server = await listen(createApp(daemon.deps), { host: '127.0.0.1', port: 0 })
  port = server.port
  let heard = 0
  let wake = () => {}
  const sockets = Array.from({ length: LISTENERS }, () => {
    const socket = connect(port, '127.0.0.1')
    socket.write(
      `GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`,
    )
    socket.on('data', (data: Buffer) => {
      if (data.includes('event: hook') && ++heard === LISTENERS) wake()
    })
    return socket
  })
  while (daemon.listeners.size < LISTENERS) await sleep(10)
  const behind: number[] = []
  for (let round = 0; round < 20; round++) {
    await sleep(50)
    heard = 0
    const all = new Promise<void>((resolve) => (wake = resolve))
    const before = performance.now()
    daemon.addHook('a', 'Stop')
    await all
    behind.push(performance.now() - before)
  }
  for (const socket of sockets) socket.destroy()
  await server.close(0)
  const name = `an event at the last of ${LISTENERS} live streams (worst of 20 ${Math.max(...behind).toFixed(0)})`
  return { name, peer: null, ours: median(behind), ratio: null, unit: 'ms', goal: 'below 50 ms' }
}
