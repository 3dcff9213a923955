import { PLAIN_TASK } from '../../src/core/task/task.ts'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createBeats, createPulse, LOOPS } from '../../src/supervisor/loops/beats.ts'
import { eventually, isAlive } from '../supervisor/fleet.ts'
import { openGateway, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createSharedFleet, goAway, insertTask, newSystem, type SharedDaemon } from './shared-fleet.ts'

const TEST = { timeout: 120_000 }

type Row = { status: string; attempt: number; worker: string; error: string | null; failures: number }

describeOnSupabase('an outage of Supabase', (supabase) => {
  let gateway: TestGateway
  let system = ''
  beforeAll(async () => {
    gateway = await openGateway(supabase())
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())
  beforeEach(async () => {
    system = await newSystem(supabase())
  })

  const rowOf = async (id: string) =>
    (
      await supabase().sql<Row>('SELECT status, attempt, worker, error, failures FROM tasks WHERE id = $1', [
        id,
      ])
    )[0]
  const fleetOf = (queue: string, worker = 'm1') =>
    createSharedFleet(supabase(), { url: gateway.url, system, worker, queue })
  const holdsOf = ({ supervisor }: SharedDaemon) => supervisor.holds().map(({ kind }) => kind)

  test(
    'half a lease long ends no agent; what came to its end meanwhile is told in order once it is over',
    TEST,
    async () => {
      await using fleet = await fleetOf('lease = "24s"\nheartbeat = "500ms"\nsweep = "1s"')
      const daemon = await fleet.start()
      // A directory without git holds one agent at a time.
      const id = await insertTask(supabase(), system)
      const pid = await fleet.agentOf(id)
      await gateway.down()
      const awayAt = performance.now()
      await eventually(() => daemon.chosen.supabase() === 'down')
      const waits = await insertTask(supabase(), system, 'Meanwhile')
      // As 5 minutes are of 10.
      await new Promise((resolve) => setTimeout(resolve, 12_000 - (performance.now() - awayAt)))
      expect(isAlive(pid)).toBe(true)
      expect(holdsOf(daemon)).toContain('supabase')
      fleet.letGo(id)
      await eventually(() => fleet.deps.outbox.pending(9).length === 1)
      expect(await rowOf(id)).toMatchObject({ status: 'running', attempt: 1 })
      await gateway.up()
      await eventually(async () => (await rowOf(id))?.status === 'succeeded', 20_000)
      expect(await rowOf(id)).toMatchObject({ attempt: 1, failures: 0, error: null })
      await fleet.agentOf(waits)
      fleet.letGo(waits, 1)
      await eventually(async () => (await rowOf(waits))?.status === 'succeeded', 20_000)
      const events = () =>
        supabase().sql<{ seq: string; kind: string; data: { to?: string; outcome?: string } }>(
          'SELECT seq, kind, data FROM task_events WHERE task_id = $1 ORDER BY at, seq DESC',
          [id],
        )
      await eventually(async () => (await events()).some(({ kind }) => kind === 'summary'))
      const told = await events()
      expect(told.filter(({ kind }) => kind === 'state').map(({ data }) => data.to)).toEqual(
        fleet.deps.attempts.chain(id).map(({ to }) => to),
      )
      expect(told.find(({ kind }) => kind === 'summary')?.data).toMatchObject({ outcome: 'succeeded' })
      await daemon.close()
    },
  )

  test(
    'longer than 3/4 of the lease ends the agent before anybody else may have the task',
    TEST,
    async () => {
      await using fleet = await fleetOf('lease = "12s"\nheartbeat = "300ms"\nsweep = "500ms"')
      const daemon = await fleet.start()
      const id = await insertTask(supabase(), system)
      const pid = await fleet.agentOf(id)
      const awayAt = performance.now()
      await gateway.down()
      await eventually(() => !isAlive(pid), 25_000)
      const livedMs = performance.now() - awayAt
      // The last good heartbeat may have been 0.3 s old, on a busy machine seconds; a last renewal is tried before it
      // ends.
      expect(livedMs).toBeGreaterThan(6000)
      expect(livedMs).toBeLessThan(18_000)
      await gateway.up()
      await eventually(async () => ((await rowOf(id))?.attempt ?? 0) >= 2, 20_000)
      expect(await rowOf(id)).toMatchObject({ failures: 0 })
      await fleet.agentOf(id, 2)
      fleet.letGo(id, 2)
      await eventually(async () => (await rowOf(id))?.status === 'succeeded', 20_000)
      await daemon.close()
    },
  )

  test(
    'a start meanwhile takes its agents back, claims nothing, ends nothing, and joins at the first contact',
    TEST,
    async () => {
      await using fleet = await fleetOf('lease = "30s"\nheartbeat = "500ms"\nsweep = "500ms"')
      const first = await fleet.start()
      const id = await insertTask(supabase(), system)
      const pid = await fleet.agentOf(id)
      await first.close()
      await gateway.down()
      const second = await fleet.start()
      expect(second.supervisor.agents().map(({ task }) => task.id)).toEqual([id])
      expect(holdsOf(second)).toContain('starting')
      expect(second.supervisor.foundAtStart().join(' ')).toContain('until Supabase answers')
      expect(isAlive(pid)).toBe(true)
      fleet.letGo(id)
      await eventually(() => fleet.deps.outbox.pending(9).length === 1)
      await gateway.up()
      await eventually(async () => (await rowOf(id))?.status === 'succeeded', 20_000)
      expect(await rowOf(id)).toMatchObject({ attempt: 1, failures: 0 })
      await eventually(() => !holdsOf(second).includes('starting'))
      await second.close()
    },
  )

  test('an agent that was taken back meanwhile ends when another worker has its task', TEST, async () => {
    await using fleet = await fleetOf('lease = "30s"\nheartbeat = "500ms"\nsweep = "500ms"')
    const first = await fleet.start()
    const id = await insertTask(supabase(), system)
    const pid = await fleet.agentOf(id)
    await first.close()
    await gateway.down()
    await supabase().asAdmin(`SELECT tasks_reap($1, -3600000, 10)`, [system])
    await supabase().asAdmin(`SELECT worker_register($1, 'm2', '{}')`, [system])
    await supabase().asAdmin(`SELECT tasks_claim($1, 'm2', 1, 1, 60000, '{work}', null, '{}')`, [system])
    expect(await rowOf(id)).toMatchObject({ attempt: 2, worker: 'm2' })
    const second = await fleet.start()
    expect(second.supervisor.agents()).toHaveLength(1)
    expect(isAlive(pid)).toBe(true)
    await gateway.up()
    await eventually(() => !isAlive(pid), 20_000)
    await eventually(() => fleet.deps.outbox.pending(9).length === 0, 20_000)
    expect(await rowOf(id)).toMatchObject({ status: 'running', attempt: 2, worker: 'm2' })
    await second.close()
  })

  test('an agent at work can be cancelled meanwhile; the queue hears of it afterwards', TEST, async () => {
    await using fleet = await fleetOf('lease = "60s"\nheartbeat = "500ms"\nsweep = "500ms"')
    const daemon = await fleet.start()
    const id = await insertTask(supabase(), system)
    const pid = await fleet.agentOf(id)
    await gateway.down()
    expect(await daemon.supervisor.cancel(id, 'Enough.')).toBe('requested')
    await eventually(() => !isAlive(pid))
    expect(await rowOf(id)).toMatchObject({ status: 'running' })
    await gateway.up()
    await eventually(async () => (await rowOf(id))?.status === 'cancelled', 20_000)
    expect(await rowOf(id)).toMatchObject({ attempt: 1, failures: 0, error: 'Enough.' })
    await daemon.close()
  })

  test('a second daemon under the name of a worker ends the agents of the first', TEST, async () => {
    await using fleet = await fleetOf('lease = "30s"\nheartbeat = "300ms"\nsweep = "500ms"')
    const daemon = await fleet.start()
    const id = await insertTask(supabase(), system)
    const pid = await fleet.agentOf(id)
    await supabase().asAdmin(`SELECT worker_register($1, 'm1', '{}')`, [system])
    await eventually(() => !isAlive(pid))
    await eventually(() => daemon.supervisor.agents().length === 0)
    expect(daemon.supervisor.agents()).toEqual([])
    // And it says why it does nothing any more.
    expect(daemon.supervisor.holds()).toMatchObject([
      {
        kind: 'replaced',
        sentence: expect.stringMatching(/registered as worker m1 since.*\[supabase\] worker/),
      },
    ])
    await daemon.close()
  })

  test(
    'a second home under the name of a worker starts its task when no agent of the first can live any more',
    TEST,
    async () => {
      const queue = 'lease = "6s"\nheartbeat = "300ms"\nsweep = "500ms"'
      await using first = await fleetOf(queue)
      await using second = await fleetOf(queue)
      const daemon = await first.start()
      const id = await insertTask(supabase(), system)
      await first.agentOf(id)
      await daemon.close()
      const from = performance.now()
      const other = await second.start()
      expect(other.supervisor.foundAtStart()).toContainEqual(
        expect.stringMatching(
          /knows nothing of it; by another home perhaps, whose agent may live on.* in 6 s at the earliest/,
        ),
      )
      await second.agentOf(id, 2)
      expect(performance.now() - from).toBeGreaterThan(5500)
      expect(await rowOf(id)).toMatchObject({ attempt: 2, failures: 0 })
      await other.close()
    },
  )

  test('a key that is revoked meanwhile is told as that, and is an outage like any other', TEST, async () => {
    await using fleet = await fleetOf('lease = "60s"\nheartbeat = "500ms"\nsweep = "500ms"')
    const daemon = await fleet.start()
    const id = await insertTask(supabase(), system)
    const pid = await fleet.agentOf(id)
    gateway.faultOf = () => (response) => {
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end('{"message":"Invalid API key"}')
    }
    try {
      await eventually(() => daemon.chosen.supabase() === 'down')
      expect(daemon.supervisor.holds()).toMatchObject([
        {
          kind: 'supabase',
          sentence: expect.stringMatching(/refused the key: Invalid API key.*ccm restart/),
        },
      ])
      const held = await daemon.supervisor.insert({ ...ASKED, prompt: 'Meanwhile', project: 'work' })
      expect(held).toMatchObject({ held: true })
      fleet.letGo(id)
      await eventually(() => fleet.deps.outbox.pending(9).length === 1)
      expect(isAlive(pid) || fleet.deps.outbox.pending(9)[0]?.outcome === 'succeeded').toBe(true)
    } finally {
      gateway.faultOf = () => null
    }
    await eventually(async () => (await rowOf(id))?.status === 'succeeded', 20_000)
    await eventually(() => holdsOf(daemon).length === 0)
    const prompts = () =>
      supabase().sql('SELECT prompt FROM tasks WHERE system_id = $1 ORDER BY id', [system])
    await eventually(async () => (await prompts()).length === 2)
    expect(await prompts()).toEqual([{ prompt: 'Do it' }, { prompt: 'Meanwhile' }])
    await daemon.close()
  })

  test(
    'every loop is watched; one that waits for Supabase is no hang, whichever call it waits in',
    TEST,
    async () => {
      await using fleet = await fleetOf('lease = "60s"\nheartbeat = "300ms"\nsweep = "300ms"')
      const beats = createBeats()
      const watched = new Set<string>()
      const daemon = await fleet.start((loop, work) => {
        watched.add(loop)
        return createPulse(beats, loop, work, 50)
      })
      expect([...watched].toSorted()).toEqual(
        LOOPS.filter((loop) => !['event loop', 'inbox', 'schedules'].includes(loop)).toSorted(),
      )
      // Nothing is answered any more, and each loop has something to ask.
      gateway.faultOf = () => () => new Promise<void>(() => undefined)
      try {
        await daemon.supervisor.insert({ ...ASKED, prompt: 'Meanwhile', project: 'work' })
        for (let looks = 0; looks < 10; looks++) {
          await new Promise((resolve) => setTimeout(resolve, 300))
          expect(beats.silent(2000)).toEqual([])
        }
      } finally {
        gateway.faultOf = () => null
        await gateway.down()
        await gateway.up()
      }
      await daemon.close()
    },
  )

  test(
    'how long a worker is silent is told by the clock of the database, which is another one, and goes on in an outage',
    TEST,
    async () => {
      const { asAdmin } = supabase()
      const [clock] = await asAdmin<{ text: string }>(
        `SELECT pg_get_functiondef('ccm.now()'::regprocedure) AS text`,
      )
      await asAdmin(`CREATE OR REPLACE FUNCTION ccm.now() RETURNS timestamptz LANGUAGE sql VOLATILE
        RETURN pg_catalog.clock_timestamp() - interval '10 minutes'`)
      try {
        await using fleet = await fleetOf('heartbeat = "500ms"')
        const daemon = await fleet.start()
        const silent = async () => (await daemon.chosen.workers?.())?.map(({ silentMs }) => silentMs) ?? []
        const [now = Infinity] = await silent()
        expect(now).toBeLessThan(60_000)
        await goAway(gateway, daemon)
        await eventually(async () => ((await silent())[0] ?? 0) > now + 2000)
        await gateway.up()
      } finally {
        await asAdmin(clock?.text ?? '')
      }
    },
  )
})

const ASKED = {
  dir: null,
  trust: false,
  ...PLAIN_TASK,
  priority: null,
  labels: ['nobody'],
  source: 'api',
}
