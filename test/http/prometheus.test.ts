import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { AlertRule } from '../../src/core/outside/alert.ts'
import { createApp } from '../../src/http/app.ts'
import { listen } from '../../src/http/listen.ts'
import { CcmError } from '../../src/core/errors.ts'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import { createSharedTemplates } from '../../src/daemon/shared-templates.ts'
import { createAlertEnds } from '../../src/store/alert-ends.ts'
import { createInboxStore } from '../../src/store/inbox.ts'
import { createNotes } from '../../src/store/notes.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createInbox } from '../../src/supervisor/requests/inbox.ts'
import { createFakeDaemon, PORT } from './fake-daemon.ts'
import { fakeTemplates, fakeWebhooks, REVIEW } from './fake-inbox.ts'

const RULE: AlertRule = { match: {}, project: 'app', template: null, approve: 'never' }
const START = '2026-11-20T10:00:00.000Z'

type Options = { rules?: AlertRule[]; maxOpen?: number; clock?: () => number; templates?: Templates }
type Templates = ReturnType<typeof fakeTemplates>

/** `file`: the database of a daemon that has ended. */
function stage(options: Options = {}, file?: string) {
  const home = file === undefined ? temporaryHome() : null
  const db = openForTest(file ?? home?.file ?? '')
  const store = createInboxStore(db)
  const queue = createSqliteQueue({ db, system: 's', worker: 'w', clock: Date.now, random: () => 0.5 })
  const inbox = createInbox({
    store,
    queue,
    insert: async ({ key, project, task }) =>
      (await queue.insert({ ...task, project, priority: 0, dedupeKey: key, dependsOn: [], onlyWorker: null }))
        .task,
    cancel: (id, reason) => queue.cancel(id, reason),
    onSettled: () => undefined,
    clock: options.clock ?? Date.now,
    random: () => 0.5,
    logger: pino({ level: 'silent' }),
  })
  const close = async () => {
    await inbox.close()
    db.close()
  }
  onTestFinished(async () => {
    await close()
    home?.[Symbol.dispose]()
  })
  let port = PORT
  const { deps, audits } = createFakeDaemon({
    names: { port: () => port, public: [] },
    clock: options.clock ?? Date.now,
    ...(options.templates === undefined ? {} : { templates: options.templates }),
    webhooks: fakeWebhooks({
      prometheus: {
        token: 'prometheus-token',
        basic: 'am:pass:word',
        rules: options.rules ?? [RULE],
        maxOpen: options.maxOpen ?? 10,
      },
      accept: (entries) => inbox.accept(entries),
      byKey: store.byKey,
      cameAgain: (keys) => store.cameAgain(keys, (options.clock ?? Date.now)()),
      alertEnds: createAlertEnds(db),
      noteOver: (source) => inbox.noteOver(source),
      countOpen: store.countOpen,
      end: (...args) => inbox.end(...args),
    }),
  })
  const app = createApp(deps)
  const post = async (alerts: object[], authorization = 'Bearer prometheus-token') => {
    const reply = await app.request('/webhook/prometheus', {
      method: 'POST',
      body: JSON.stringify({ version: '4', groupKey: '{}', alerts }),
      headers: { host: `127.0.0.1:${PORT}`, 'content-type': 'application/json', authorization },
    })
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> }
  }
  return {
    post,
    app,
    store,
    queue,
    inbox,
    audits,
    close,
    file: file ?? home?.file,
    serveAt: (given: number) => (port = given),
  }
}

const alert = (fingerprint: string, changes: object = {}) => ({
  status: 'firing',
  fingerprint,
  startsAt: START,
  labels: { alertname: 'DiskFull', severity: 'critical', instance: 'db-1' },
  annotations: { summary: 'The disk is full', runbook_url: 'https://runbooks.example/disk' },
  generatorURL: 'https://prometheus.example/graph',
  ...changes,
})

test.each([
  ['Bearer prometheus-token', 202],
  ['bearer prometheus-token', 202],
  [`Basic ${Buffer.from('am:pass:word').toString('base64')}`, 202],
  [`Basic ${Buffer.from('am:pass').toString('base64')}`, 401],
  ['Bearer am:pass:word', 401],
  ['Bearer right-token', 401],
  ['Basic prometheus-token', 401],
  ['', 401],
])('the credential %j answers %i', async (authorization, status) => {
  const { post } = stage()
  expect((await post([alert('a1')], authorization)).status).toBe(status)
})

test('each fingerprint and start is one task, with labels, annotations and the runbook as data', async () => {
  const { post, inbox, queue } = stage()
  const two = [alert('a1'), alert('b2')]
  expect((await post(two)).body).toMatchObject({ accepted: 2, known: 0 })
  expect((await post(two)).body).toMatchObject({ accepted: 0, known: 2 })
  expect((await post([alert('a1', { startsAt: '2026-11-21T10:00:00Z' })])).body).toMatchObject({
    accepted: 1,
  })
  await inbox.begin()
  const tasks = await queue.list({ limit: 10 })
  expect(tasks.map(({ dedupeKey }) => dedupeKey).toReversed()).toEqual([
    `am:a1:${START}`,
    `am:b2:${START}`,
    'am:a1:2026-11-21T10:00:00.000Z',
  ])
  expect(tasks[0]?.source).toBe('alertmanager')
  expect((await queue.get(tasks[0]?.id ?? ''))?.prompt).toMatch(
    /BEGIN OF DATA[^]*runbook: https:\/\/runbooks\.example\/disk[^]*instance: db-1[^]*summary: The disk is full\n[^]*END OF DATA/,
  )
})

test('while the queue is away what fires is stored and answered, and what is resolved is to come again', async () => {
  const { post, inbox, queue, store } = stage({ maxOpen: 3 })
  await post([alert('a1')])
  await inbox.begin()
  const { get } = queue
  queue.get = () => Promise.reject(new CcmError('SUPABASE_UNREACHABLE', 'Supabase is away.'))
  expect(await post([alert('b2')])).toMatchObject({ status: 202, body: { accepted: 1 } })
  const mixed = [alert('a1', { status: 'resolved' }), alert('c3')]
  expect((await post(mixed)).status).toBe(503)
  expect(store.byKey(`am:c3:${START}`)).not.toBeNull()
  // Those whose task cannot be asked for count as open.
  expect((await post([alert('d4')])).body).toMatchObject({ accepted: 0, over: 1 })
  queue.get = () => new Promise(() => {})
  const before = performance.now()
  expect((await post([alert('e5')])).body).toMatchObject({ over: 1 })
  expect(performance.now() - before).toBeLessThan(8000)
  queue.get = get
  expect((await post(mixed)).body).toMatchObject({ resolved: 1, known: 1 })
})

test('what fires is stored before the answer also where the queue lets the end of another wait for ever', async () => {
  const { post, inbox, queue, store } = stage()
  await post([alert('a1')])
  await inbox.begin()
  const { get } = queue
  queue.get = () => new Promise(() => {})
  const mixed = [alert('a1', { status: 'resolved' }), alert('b2')]
  expect(await post(mixed)).toMatchObject({
    status: 503,
    body: { detail: expect.stringMatching(/^The queue/) },
  })
  expect(store.byKey(`am:b2:${START}`)).not.toBeNull()
  queue.get = get
  expect((await post(mixed)).body).toMatchObject({ resolved: 1, known: 1 })
})

test('what is resolved is ended together, so a slow queue lets all of it end in time, and is asked once', async () => {
  const { post, inbox, queue, store } = stage()
  const three = ['a1', 'b2', 'c3']
  await post(three.map((fingerprint) => alert(fingerprint)))
  await inbox.begin()
  const tasks = three.map((fingerprint) => store.byKey(`am:${fingerprint}:${START}`)?.taskId)
  const { get } = queue
  const gate = Promise.withResolvers<void>()
  const asked: string[] = []
  queue.get = async (id) => {
    asked.push(id)
    if (asked.length === 3) gate.resolve()
    await gate.promise
    return get(id)
  }
  const resolved = ['a1', ...three].map((fingerprint) => alert(fingerprint, { status: 'resolved' }))
  expect(await post(resolved)).toMatchObject({ status: 200, body: { resolved: 3 } })
  expect(asked.slice(0, 3)).toEqual(tasks)
  // They were seen to be over before that answer.
  asked.length = 0
  expect(await post(resolved)).toMatchObject({ status: 200, body: { resolved: 0 } })
  expect(asked).toEqual([])
})

test('while Supabase says nothing at all, any number of rules with templates of it holds up no answer', async () => {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const shared = createSharedTemplates({
    read: () => new Promise(() => {}),
    max: 10,
    isDown: () => false,
    system: 's',
    notes: createNotes(db),
    clock: Date.now,
    uptime: performance.now.bind(performance),
    logger: pino({ level: 'silent' }),
  })
  const rules = ['a', 'b', 'c', 'd'].map((name) => ({ ...RULE, match: { instance: name }, template: name }))
  const { post, store } = stage({
    rules: [...rules, { ...RULE, template: 'e' }],
    templates: fakeTemplates([], { supabase: shared.list }),
  })
  expect(await post([alert('a1')])).toMatchObject({ status: 202, body: { accepted: 1 } })
  expect(store.byKey(`am:a1:${START}`)).toMatchObject({
    state: 'waiting',
    reason: 'There is no template e now.',
  })
})

test('a message that changed something is in the audit log', async () => {
  const { post, audits } = stage()
  await post([alert('a1')], 'Bearer wrong')
  for (const status of ['firing', 'firing', 'resolved']) await post([alert('a1', { status })])
  expect(audits.map(({ kind, action, target, status }) => [kind, action, target, status])).toEqual([
    ['alertmanager', 'POST /webhook/prometheus', '1 firing, 0 resolved', 202],
    ['alertmanager', 'POST /webhook/prometheus', '0 firing, 1 resolved', 200],
  ])
})

test('resolved cancels what has not started and leaves what runs', async () => {
  const { post, inbox, queue, store } = stage()
  await queue.register()
  await post([alert('a1')])
  await inbox.begin()
  const [started] = await queue.claim(1, { projects: ['app'], roles: null, labels: [] })
  await post([alert('b2')])
  await inbox.begin()
  const resolved = [alert('a1', { status: 'resolved' }), alert('b2', { status: 'resolved' })]
  expect((await post([...resolved, alert('c3', { status: 'resolved' })])).body).toMatchObject({ resolved: 1 })
  expect((await queue.get(started?.id ?? ''))?.status).toBe('running')
  const other = store.byKey(`am:b2:${START}`)
  expect(await queue.get(other?.taskId ?? '')).toMatchObject({
    status: 'cancelled',
    error: 'The alert is resolved.',
  })
})

test('what fires is late where its end was heard before, also by an earlier daemon; what begins after it is not', async () => {
  let now = Date.parse('2026-11-20T11:00:00Z')
  const clock = () => now
  const first = stage({ clock })
  const over = { status: 'resolved', endsAt: '2026-11-20T10:30:00Z' }
  expect((await first.post([alert('a1', over), alert('b2', over)])).body).toMatchObject({ resolved: 0 })
  await first.close()
  const { post, store } = stage({ clock }, first.file)
  const other = alert('a1', { startsAt: '2026-11-20T10:29:00Z' })
  expect(await post([alert('a1'), other])).toMatchObject({ status: 200, body: { accepted: 0, late: 2 } })
  const again = alert('a1', { startsAt: '2026-11-20T10:31:00Z' })
  expect((await post([again, alert('c3')])).body).toMatchObject({ accepted: 2, late: 0 })
  now += 3_599_000
  expect((await post([alert('b2')])).body).toMatchObject({ accepted: 0, late: 1 })
  // Who says for so long that it fires is no straggler.
  now += 2000
  expect((await post([alert('b2')])).body).toMatchObject({ accepted: 1, late: 0 })
  expect(store.list({ state: null, limit: 9 })).toHaveLength(3)
})

test.each([
  ['of a clock that is ahead', '2026-11-20T12:00:00Z'],
  ['that is none', 'soon'],
  ['before its start', '0001-01-01T00:00:00Z'],
])('an end %s ends that start, and none to come', async (_, endsAt) => {
  const { post } = stage({ clock: () => Date.parse('2026-11-20T11:00:00Z') })
  await post([alert('a1', { status: 'resolved', endsAt })])
  const later = alert('a1', { startsAt: '2026-11-20T11:01:00Z' })
  expect((await post([alert('a1'), later])).body).toMatchObject({ accepted: 1, late: 1 })
})

test('an end that is heard while the message before it is looked at counts, and messages at once keep to max_open', async () => {
  const gate = Promise.withResolvers<void>()
  const templates = fakeTemplates()
  const { forOutside } = templates
  templates.forOutside = async (...of) => {
    await gate.promise
    return forOutside(...of)
  }
  const { post, inbox, queue } = stage({ maxOpen: 2, templates })
  const fires = [post([alert('a1')]), post([alert('b2'), alert('c3')]), post([alert('d4'), alert('e5')])]
  const ends = post([alert('a1', { status: 'resolved' })])
  await new Promise((resolve) => setTimeout(resolve, 50))
  gate.resolve()
  const bodies = (await Promise.all(fires)).map(({ body }) => body)
  expect(bodies).toMatchObject([{ late: 1 }, { accepted: 2 }, { accepted: 0, over: 2 }])
  expect((await ends).body).toMatchObject({ resolved: 0 })
  await inbox.begin()
  expect(await queue.list({ limit: 9 })).toHaveLength(2)
})

test('what is resolved is found behind any number of newer ones', async () => {
  const { post, inbox, queue, store } = stage()
  await post([alert('a1')])
  await inbox.begin()
  const entry = store.byKey(`am:a1:${START}`)
  if (entry === null) throw new Error('nothing was stored')
  const newer = Array.from({ length: 1001 }, (_, n) => ({
    ...entry,
    key: `am:${n}:${START}`,
    state: 'waiting' as const,
  }))
  store.accept(newer, 0)
  expect((await post([alert('a1', { status: 'resolved' })])).body).toMatchObject({ resolved: 1 })
  expect((await queue.get(entry.taskId ?? ''))?.status).toBe('cancelled')
})

test('what was seen to be over takes no room, also while the queue is away', async () => {
  const { post, inbox, queue, store } = stage({ maxOpen: 1 })
  for (const fingerprint of ['a1', 'b2']) {
    expect((await post([alert(fingerprint)])).body).toMatchObject({ accepted: 1 })
    await inbox.begin()
    await queue.cancel(store.byKey(`am:${fingerprint}:${START}`)?.taskId ?? '', 'It is over.')
  }
  await post([])
  queue.get = () => Promise.reject(new CcmError('SUPABASE_UNREACHABLE', 'Supabase is away.'))
  expect((await post([alert('c3'), alert('d4')])).body).toMatchObject({ accepted: 1, over: 1 })
})

test('an alert whose template cannot be filled waits for a person, and the rest of its message is stored', async () => {
  const { post, store } = stage({
    rules: [{ ...RULE, match: { instance: 'odd' }, template: 'review' }, RULE],
    templates: fakeTemplates([REVIEW]),
  })
  const odd = alert('a1', { labels: { alertname: 'DiskFull', instance: 'odd' } })
  expect((await post([odd, alert('b2')])).body).toMatchObject({ accepted: 2 })
  expect(store.byKey(`am:b2:${START}`)?.state).toMatch(/pending|inserted/)
  expect(store.byKey(`am:a1:${START}`)).toMatchObject({
    state: 'waiting',
    reason: expect.stringMatching(/^Its template review cannot be used: .*branch/),
    task: { prompt: expect.stringContaining('A Prometheus alert fires.') },
  })
})

test('at most max_open are open at once; what is over comes again when there is room', async () => {
  const { post } = stage({ maxOpen: 2 })
  const many = ['a1', 'b2', 'c3'].map((fingerprint) => alert(fingerprint))
  expect((await post([...many, alert('a1')])).body).toMatchObject({ accepted: 2, over: 1, known: 1 })
  expect((await post(many)).body).toMatchObject({ accepted: 0, over: 1, known: 2 })
  expect((await post([alert('a1', { status: 'resolved' }), alert('c3')])).body).toMatchObject({
    accepted: 1,
    resolved: 1,
  })
})

test('rules choose by labels; what matches none, and what is odd, is counted and left out', async () => {
  const { post, store } = stage({
    rules: [
      { ...RULE, match: { severity: 'page' }, project: 'pager' },
      { ...RULE, match: { severity: 'critical', instance: 'db-1' }, project: 'database', approve: 'always' },
    ],
  })
  const odd = [null, 'x', { status: 'firing' }, alert('../../etc'), alert('d4', { startsAt: 'now' })]
  const { body } = await post([
    alert('a1'),
    alert('b2', { labels: { severity: 'info' } }),
    ...(odd as object[]),
  ])
  expect(body).toMatchObject({ accepted: 1, unmatched: 1, odd: 5 })
  expect(store.list({ state: null, limit: 9 })).toMatchObject([{ project: 'database', state: 'waiting' }])
})

const ALERTMANAGER = 'prometheus-alertmanager'
const hasAlertmanager = (() => {
  try {
    execFileSync(ALERTMANAGER, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    // Loud: a check that did not run is not one that passed.
    process.stderr.write(`SKIPPED: ${ALERTMANAGER} is not installed (apt-get install ${ALERTMANAGER})\n`)
    return false
  }
})()

test.skipIf(!hasAlertmanager)('a real Alertmanager delivers, repeats and resolves', async () => {
  const { app, store, queue, inbox, serveAt } = stage()
  const server = await listen(app, { host: '127.0.0.1', port: 0 })
  serveAt(server.port)
  const folder = mkdtempSync(join(tmpdir(), 'ccm-am-'))
  const web = await freePort()
  const receiver = {
    url: `http://127.0.0.1:${server.port}/webhook/prometheus`,
    http_config: { authorization: { credentials: 'prometheus-token' } },
  }
  const route = {
    receiver: 'ccm',
    group_by: ['alertname'],
    group_wait: '0s',
    group_interval: '1s',
    repeat_interval: '1s',
  }
  const config = {
    route,
    receivers: [{ name: 'ccm', webhook_configs: [{ ...receiver, send_resolved: true }] }],
  }
  // JSON is YAML.
  writeFileSync(join(folder, 'am.yml'), JSON.stringify(config))
  const child = spawn(
    ALERTMANAGER,
    [
      `--config.file=${join(folder, 'am.yml')}`,
      `--storage.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${web}`,
      '--cluster.listen-address=',
    ],
    { stdio: 'ignore' },
  )
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await new Promise((resolve) => (child.exitCode === null ? child.once('exit', resolve) : resolve(null)))
    await server.close(0)
    rmSync(folder, { recursive: true, force: true })
  })
  const tell = (endsAt?: string) =>
    fetch(`http://127.0.0.1:${web}/api/v2/alerts`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([
        {
          labels: { alertname: 'DiskFull', instance: 'db-1' },
          annotations: { runbook_url: 'https://runbooks.example/disk' },
          startsAt: new Date(Date.now() - 60_000).toISOString(),
          ...(endsAt === undefined ? {} : { endsAt }),
        },
      ]),
    })
  const within = { timeout: 15_000, interval: 50 }
  await vi.waitFor(async () => expect((await tell()).status).toBe(200), within)
  await vi.waitFor(() => expect(store.list({ state: 'inserted', limit: 5 })).toHaveLength(1), within)
  await inbox.begin()
  const [task] = await queue.list({ limit: 5 })
  expect((await queue.get(task?.id ?? ''))?.prompt).toContain('runbook: https://runbooks.example/disk')
  await tell(new Date(Date.now() - 1000).toISOString())
  await vi.waitFor(async () => expect((await queue.get(task?.id ?? ''))?.status).toBe('cancelled'), within)
  expect(await queue.list({ limit: 5 })).toHaveLength(1)
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

test('an alert that fires for weeks is one task, also where that is long over', async () => {
  let now = Date.parse(START)
  const { post, store, queue, inbox } = stage({ clock: () => now })
  await post([alert('a')])
  await inbox.begin()
  const [entry] = store.list({ state: null, limit: 1 })
  store.told(entry?.id ?? 0, 'It is over.', null)
  await queue.cancel(entry?.taskId ?? '', 'It is over.')
  for (let day = 1; day <= 20; day++) {
    now += 86_400_000
    expect((await post([alert('a')])).body).toMatchObject({ accepted: 0, known: 1 })
    inbox.nudge()
    await inbox.begin()
  }
  // It fires no more.
  now += 9 * 86_400_000
  inbox.nudge()
  await vi.waitFor(() => expect(store.list({ state: null, limit: 1 })).toEqual([]))
})
