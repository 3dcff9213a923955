import { createClient } from '@supabase/supabase-js'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  createSubscription,
  type Subscription,
  type SubscriptionOptions,
} from '../../src/queue/supabase/subscription.ts'
import { eventually } from '../supervisor/fleet.ts'
import { openGateway, startHalfOpenProxy, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'

const LIMIT = { timeout: 20_000, interval: 10 }
const HEARTBEAT_MS = 300
/** Long enough that a machine which stands still for a moment replaces no good connection. */
const FAST = {
  tickMs: 20,
  readyMs: 3000,
  silenceMs: 3000,
  echoMs: 2500,
  backoffMs: 50,
  longestBackoffMs: 200,
}

describeOnSupabase('Realtime', (supabase) => {
  let gateway: TestGateway
  let subscription: Subscription | null = null
  let ready = 0
  let told: string[] = []
  let skewMs = 0
  let system = ''
  let systems = 0

  beforeAll(async () => {
    gateway = await openGateway(supabase())
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())
  beforeEach(async () => {
    system = `realtime-${(systems += 1)}`
    await supabase().sql('INSERT INTO systems (id, max_queued) VALUES ($1, 1000)', [system])
    await supabase().sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'app')`, [system])
    Object.assign(gateway.realtime.mood, { join: 'ok', system: 'ok', heartbeat: 'ok', delayMs: 0 })
    gateway.realtime.frames.length = 0
    ready = 0
    told = []
    skewMs = 0
  })
  afterEach(async () => {
    await subscription?.close()
    await eventually(() => gateway.realtime.connections() === 0)
  })

  const open = (more: Partial<SubscriptionOptions> = {}, url = gateway.url, vsn = '2.0.0') => {
    subscription = createSubscription({
      connect: (heartbeatCallback) =>
        createClient(url, supabase().secretKey, {
          auth: { persistSession: false, autoRefreshToken: false },
          realtime: { heartbeatCallback, heartbeatIntervalMs: HEARTBEAT_MS, timeout: 1000, vsn },
        }),
      system,
      onReady: () => (ready += 1),
      onTask: ({ id, isNew }) => isNew && told.push(id),
      clock: () => performance.now() + skewMs,
      random: () => 0.5,
      logger: pino({ level: 'silent' }),
      ...more,
      limits: { ...FAST, ...more.limits },
    })
    return subscription
  }
  const insert = async (into = system) => {
    const [row] = await supabase().sql<{ id: string }>(
      `INSERT INTO tasks (system_id, project, prompt) VALUES ($1, 'app', 'x') RETURNING id`,
      [into],
    )
    return row?.id ?? ''
  }
  const isReady = async (times = 1) => {
    await expect.poll(() => ready, LIMIT).toBeGreaterThanOrEqual(times)
  }
  const isTold = async (id: string) => {
    await expect.poll(() => told, LIMIT).toContain(id)
  }

  test.each(['1.0.0', '2.0.0'])(
    'protocol %s: an insert is told, one of another system is not',
    async (vsn) => {
      open({}, gateway.url, vsn)
      await isReady()
      await supabase().sql(`INSERT INTO systems (id) VALUES ($1)`, [`other-${system}`])
      await supabase().sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'app')`, [`other-${system}`])
      const other = await insert(`other-${system}`)
      const id = await insert()
      await isTold(id)
      expect(told).not.toContain(other)
      const join = gateway.realtime.frames.find(({ event }) => event === 'phx_join')
      expect(join?.payload).toMatchObject({
        config: {
          postgres_changes_options: { wait: true },
          postgres_changes: [
            { event: '*', schema: 'public', table: 'tasks', filter: `system_id=eq.${system}` },
          ],
        },
      })
    },
  )

  test('a cancel of a running task is told as a hint', async () => {
    const cancels: string[] = []
    open({ onTask: ({ id, cancelRequested }) => cancelRequested && cancels.push(id) })
    await isReady()
    const id = await insert()
    await supabase().sql(`SELECT worker_register($1, 'w', '{"projects":{"app":"/x"}}')`, [system])
    await supabase().asAdmin(`SELECT tasks_claim($1, 'w', 1, 1, 60000, '{app}', null, '{}')`, [system])
    await supabase().asAdmin(`SELECT task_cancel($1, $2, 'enough')`, [system, id])
    await expect.poll(() => cancels, LIMIT).toContain(id)
  })

  test('it is ready when changes flow, not when the channel is joined', async () => {
    gateway.realtime.mood.delayMs = 800
    open({})
    await expect
      .poll(() => gateway.realtime.frames.some(({ event }) => event === 'phx_join'), LIMIT)
      .toBe(true)
    expect([ready, subscription?.state()]).toEqual([0, 'connecting'])
    await isReady()
    expect(subscription?.state()).toBe('ready')
  })

  test.each([
    ['a channel that is joined and silent for ever', { system: 'zombie' } as const],
    ['a join that is never answered', { join: 'never' } as const],
    ['a join that is refused', { join: 'refuse' } as const],
    ['a subscription that the database refused', { system: 'error' } as const],
  ])('%s is replaced, and after some the client too', async (_, mood) => {
    Object.assign(gateway.realtime.mood, mood)
    open({ limits: { readyMs: 500 } })
    await expect.poll(() => subscription?.counts().clients, LIMIT).toBeGreaterThan(1)
    expect(subscription?.counts().channels).toBeGreaterThan(3)
    expect([ready, subscription?.state()]).toEqual([0, 'broken'])
    Object.assign(gateway.realtime.mood, { join: 'ok', system: 'ok' })
    await isReady()
    await isTold(await insert())
  })

  test.each([
    ['cut', () => gateway.realtime.cut()],
    ['closed in order', () => gateway.realtime.cut(1001)],
    [
      'broken by a system error while it stays joined',
      () => gateway.realtime.breakSubscriptions('slot is gone'),
    ],
    ['ended for a token that has expired', () => gateway.realtime.expireTokens()],
  ])('a connection that is %s is ready again, and the caller hears of it', async (_, act) => {
    open({})
    await isReady()
    act()
    await isReady(2)
    await isTold(await insert())
    expect(subscription?.state()).toBe('ready')
  })

  test('a gateway that is away refuses; when it is back the subscription is', async () => {
    open({})
    await isReady()
    await gateway.down()
    await expect.poll(() => subscription?.counts().channels, LIMIT).toBeGreaterThan(3)
    await gateway.up()
    await isReady(2)
    await isTold(await insert())
  })

  test.each(['up', 'down'] as const)(
    'a connection that swallows what goes %s is found and replaced',
    async (direction) => {
      await using proxy = await startHalfOpenProxy(Number(new URL(gateway.url).port))
      open({}, `http://127.0.0.1:${proxy.port}`)
      await isReady()
      proxy.swallow(direction)
      await expect.poll(() => subscription?.state(), LIMIT).toBe('broken')
      proxy.swallow(null)
      await isReady(2)
      await isTold(await insert())
      await subscription?.close()
    },
  )

  test('a connection on which nothing is heard at all is replaced; a quiet one with heartbeats is not', async () => {
    const troubles: string[] = []
    const mute = (heartbeatCallback: (status: string) => void) =>
      createClient(gateway.url, supabase().secretKey, {
        auth: { persistSession: false, autoRefreshToken: false },
        // A client that forgets its heartbeats.
        realtime: { heartbeatCallback, heartbeatIntervalMs: 1e8, timeout: 1000 },
      })
    open({ connect: mute, onTrouble: (why) => troubles.push(why), limits: { silenceMs: 600 } })
    await isReady(2)
    expect(troubles).toEqual(['it went silent'])
    await isTold(await insert())
    await subscription?.close()
    ready = 0
    open({ limits: { silenceMs: 3000 } })
    await isReady()
    await new Promise((resolve) => setTimeout(resolve, 6500))
    expect(subscription?.counts().channels).toBe(1)
  })

  test('a channel that says that changes flow, and tells of none, is replaced', async () => {
    const troubles: string[] = []
    gateway.realtime.mood.system = 'mute'
    open({ onTrouble: (why) => troubles.push(why) })
    await isReady()
    // Nobody knows before something is to be told.
    await insert()
    await new Promise((resolve) => setTimeout(resolve, FAST.echoMs + 500))
    expect([troubles, told, subscription?.state()]).toEqual([[], [], 'ready'])
    const now = () => performance.now()
    subscription?.expectChange(now())
    await isReady(2)
    expect(troubles).toEqual(['it told nothing of a change'])
    subscription?.expectChange(now())
    gateway.realtime.mood.system = 'ok'
    await isReady(3)
    const before = now()
    await isTold(await insert())
    // The change may be told before the answer of the call that made it.
    subscription?.expectChange(before)
    await new Promise((resolve) => setTimeout(resolve, FAST.echoMs + 500))
    subscription?.expectChange(now())
    await isTold(await insert())
    await new Promise((resolve) => setTimeout(resolve, FAST.echoMs + 500))
    expect(ready).toBe(3)
  })

  test('a connection is renewed before it is cut at 24 h', async () => {
    open({ limits: { silenceMs: 1e12, readyMs: 1e12 } })
    await isReady()
    skewMs = 17 * 3_600_000
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(subscription?.counts().clients).toBe(1)
    skewMs = 21 * 3_600_000
    await isReady(2)
    expect(subscription?.counts()).toMatchObject({ clients: 2, channels: 2 })
    await isTold(await insert())
    await eventually(() => gateway.realtime.connections() === 1)
  })

  test('a wrong key is never ready and never stops trying', async () => {
    open({
      connect: () =>
        createClient(gateway.url, 'sb_secret_wrong', {
          auth: { persistSession: false },
          realtime: { timeout: 300 },
        }),
    })
    await expect.poll(() => subscription?.counts().channels, LIMIT).toBeGreaterThan(3)
    expect(ready).toBe(0)
  })
})
