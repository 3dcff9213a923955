import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { eventually } from '../supervisor/fleet.ts'
import { openGateway, type RestFault, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import {
  addTask,
  createSharedFleet,
  goAway,
  insertTask,
  newSystem,
  type SharedDaemon,
  type SharedFleet,
} from './shared-fleet.ts'

const TEST = { timeout: 60_000 }

type Row = { id: string; prompt: string; status: string; error: string | null }

/** Done by the database, and the connection ends before anybody hears of it. */
const lost: RestFault = async (response, _, commit) => {
  await commit()
  response.destroy()
}

describeOnSupabase('tasks that come while Supabase does not answer', (supabase) => {
  let gateway: TestGateway
  let system = ''
  beforeAll(async () => {
    gateway = await openGateway(supabase())
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())
  beforeEach(async () => {
    system = await newSystem(supabase())
    gateway.faultOf = () => null
  })

  const fleetOf = (more = '') =>
    createSharedFleet(supabase(), {
      url: gateway.url,
      system,
      worker: 'm1',
      queue: `lease = "60s"\nheartbeat = "500ms"\nsweep = "500ms"\n${more}`,
    })
  const rows = () =>
    supabase().sql<Row>(
      'SELECT id, prompt, status, error FROM tasks WHERE system_id = $1 ORDER BY created_at, id',
      [system],
    )
  const stored = ({ db }: SharedFleet) =>
    db
      .prepare<Record<string, never>, { id: string; state: string }>('SELECT id, state FROM accepted_tasks')
      .all({})
  const away = (daemon: SharedDaemon) => goAway(gateway, daemon)

  test(
    'they are accepted at once, seen, and handed over in their order under their ids, once',
    TEST,
    async () => {
      await using fleet = await fleetOf()
      const daemon = await fleet.start()
      const { queue, seen } = daemon.chosen
      await away(daemon)
      const from = performance.now()
      const later = { scheduledAt: Date.now() + 3_600_000 }
      const added = []
      for (const prompt of ['One', 'Two', 'Three']) added.push(await addTask(daemon, prompt, later))
      // No call was waited for.
      expect(performance.now() - from).toBeLessThan(4000)
      expect(added).toMatchObject([{ held: true }, { held: true, inserted: true }, { held: true }])
      expect(added[0]?.notices.join()).toContain('handed over when it does')
      const ids = added.map(({ task }) => task.id)
      const [first = ''] = ids
      expect(ids).toEqual(ids.toSorted())
      const task = await queue.get(first)
      if (task === null) throw new Error('the task is gone')
      expect(task).toMatchObject({ status: 'queued', attempt: 0, prompt: 'One' })
      expect((await daemon.supervisor.factsOf(task)).reason).toMatch(/^queue: Supabase does not answer/)
      expect((await seen({ limit: 9 })).map(({ id }) => id)).toEqual(ids.toReversed())
      expect(await seen({ limit: 9, status: 'running' })).toEqual([])
      expect(await queue.idsByPrefix(first.slice(0, 11), null)).toContain(first)
      expect(await queue.idsByPrefix(first.slice(0, 11), ['work'])).toContain(first)
      // Nothing is known of others here, which is not the same as that there is none.
      await expect(queue.idsByPrefix(first.slice(0, 11), ['others'])).rejects.toThrow(/did not answer/)
      expect(await queue.count('queued')).toBe(3)
      expect(await rows()).toEqual([])
      await gateway.up()
      await eventually(() => stored(fleet).length === 0)
      expect((await rows()).map(({ id, prompt }) => [id, prompt])).toEqual([
        [ids[0], 'One'],
        [ids[1], 'Two'],
        [ids[2], 'Three'],
      ])
      expect((await queue.get(first))?.createdAt).not.toBe(task.createdAt)
      await new Promise((resolve) => setTimeout(resolve, 1000))
      expect(await rows()).toHaveLength(3)
      // The ids of others go on behind them.
      expect((await insertTask(supabase(), system)) > (ids[2] ?? '')).toBe(true)
    },
  )

  test('what this daemon accepted keeps its rights when it is claimed', TEST, async () => {
    await using fleet = await fleetOf()
    const daemon = await fleet.start()
    await away(daemon)
    const { task } = await addTask(daemon, 'Mine', { allowedTools: ['Bash'], inPlace: true })
    await gateway.up()
    await fleet.agentOf(task.id)
    const agent = daemon.supervisor.agents().find((one) => one.task.id === task.id)
    expect(agent?.task).toMatchObject({ allowedTools: ['Bash'], inPlace: true, attempt: 1 })
    fleet.letGo(task.id)
    await eventually(async () => (await rows())[0]?.status === 'succeeded', 20_000)
  })

  test(
    'where the answer to an insert got lost, the task is there once, and found by both ids',
    TEST,
    async () => {
      await using fleet = await fleetOf()
      const daemon = await fleet.start()
      gateway.faultOf = (name) => (name === 'task_insert' ? lost : null)
      const { task, held } = await addTask(daemon, 'Lost', { labels: ['nobody'] })
      expect(held).toBe(true)
      await eventually(() => stored(fleet).every(({ state }) => state === 'handed'))
      const [row, ...more] = await rows()
      expect(more).toEqual([])
      expect(row?.id).not.toBe(task.id)
      expect(await daemon.chosen.queue.get(task.id)).toMatchObject({ id: row?.id, prompt: 'Lost' })
      expect(await daemon.chosen.queue.cancel(task.id, 'Enough.')).toBe('cancelled')
      expect(await rows()).toMatchObject([{ status: 'cancelled' }])
    },
  )

  test('whoever adds a task to a queue that is silent waits 5 s at most', TEST, async () => {
    await using fleet = await fleetOf()
    const daemon = await fleet.start()
    gateway.faultOf = (name) => (name === 'task_insert' ? () => new Promise<void>(() => undefined) : null)
    const from = performance.now()
    const { task, held } = await addTask(daemon, 'Silent', { labels: ['nobody'] })
    expect(performance.now() - from).toBeLessThan(9000)
    expect(held).toBe(true)
    await eventually(() => stored(fleet).length === 0)
    gateway.faultOf = () => null
    // The first one is still under way, and is sent again.
    await new Promise((resolve) => setTimeout(resolve, 8000))
    await eventually(async () => (await rows()).length > 0)
    expect(await rows()).toMatchObject([{ id: task.id, status: 'queued' }])
  })

  test('a daemon that ends between the insert and its note adds no second task', TEST, async () => {
    await using fleet = await fleetOf()
    const first = await fleet.start()
    await away(first)
    const { task } = await addTask(first, 'Once', { labels: ['nobody'] })
    gateway.faultOf = (name) => (name === 'task_hand_over' ? lost : null)
    await gateway.up()
    await eventually(async () => (await rows()).length === 1)
    await first.close()
    expect(stored(fleet)).toEqual([{ id: task.id, state: 'waiting' }])
    gateway.faultOf = () => null
    await using second = { [Symbol.asyncDispose]: (await fleet.start()).close }
    await eventually(() => stored(fleet).length === 0)
    expect(await rows()).toMatchObject([{ id: task.id, status: 'queued' }])
    void second
  })

  test(
    'one is cancelled before the queue hears of it; one that may be there is cancelled there',
    TEST,
    async () => {
      await using fleet = await fleetOf()
      const daemon = await fleet.start()
      const { queue } = daemon.chosen
      const changed: string[] = []
      daemon.supervisor.subscribe(({ taskId }) => changed.push(taskId))
      await away(daemon)
      const one = (await addTask(daemon, 'One', { labels: ['nobody'] })).task
      const dependent = (await addTask(daemon, 'Then', { dependsOn: [one.id] })).task
      const two = (await addTask(daemon, 'Two', { labels: ['nobody'] })).task
      expect(await queue.cancel(one.id, 'Enough.')).toBe('cancelled')
      expect(await queue.cancel(one.id, 'Enough.')).toBe('already_final')
      expect(await queue.get(one.id)).toMatchObject({ status: 'cancelled', error: 'Enough.' })
      expect(await queue.get(dependent.id)).toMatchObject({
        status: 'cancelled',
        error: `Task ${one.id}, which it depends on, was cancelled.`,
      })
      expect(changed).toContain(dependent.id)
      // This one is there, and nobody here knows.
      gateway.faultOf = (name) => (name === 'task_hand_over' ? lost : null)
      await gateway.up()
      await eventually(async () => (await rows()).length === 1)
      expect(await queue.cancel(two.id, 'No more.')).toBe('requested')
      expect(await queue.get(two.id)).toMatchObject({ status: 'cancelled', error: 'No more.' })
      gateway.faultOf = () => null
      await eventually(async () => (await rows())[0]?.status === 'cancelled', 30_000)
      expect(await rows()).toMatchObject([{ id: two.id, error: 'No more.' }])
      // Once more, after all.
      expect(await queue.retry(one.id)).toBe('queued')
      await eventually(async () => (await rows()).length === 2)
      expect(await queue.get(one.id)).toMatchObject({ status: 'queued', prompt: 'One' })
    },
  )

  test('one that the queue refuses is told with the reason, and those behind it go on', TEST, async () => {
    await using fleet = await fleetOf()
    const daemon = await fleet.start()
    const before = await insertTask(supabase(), system, 'Before', ['nobody'])
    await away(daemon)
    const bad = (await addTask(daemon, 'Bad', { dependsOn: [before] })).task
    const good = (await addTask(daemon, 'Good', { labels: ['nobody'] })).task
    await supabase().asAdmin(`SELECT task_cancel($1, $2, 'enough')`, [system, before])
    await gateway.up()
    await eventually(async () => (await rows()).some(({ id }) => id === good.id))
    expect(await daemon.chosen.queue.get(bad.id)).toMatchObject({
      status: 'failed',
      error: expect.stringContaining(`It depends on task ${before}, which was cancelled`),
    })
    expect((await rows()).map(({ prompt }) => prompt)).toEqual(['Before', 'Good'])
    expect((await daemon.chosen.seen({ limit: 9 })).map(({ id }) => id)).toEqual([good.id, bad.id, before])
  })

  test('a dedupe key holds among those that wait, and against what the queue has', TEST, async () => {
    await using fleet = await fleetOf()
    const daemon = await fleet.start()
    const there = (await addTask(daemon, 'There', { dedupeKey: 'a', labels: ['nobody'] })).task
    await away(daemon)
    const a = await addTask(daemon, 'Again', { dedupeKey: 'a' })
    const b = await addTask(daemon, 'New', { dedupeKey: 'b', labels: ['nobody'] })
    const again = await addTask(daemon, 'New', { dedupeKey: 'b' })
    expect(again).toMatchObject({ inserted: false, task: { id: b.task.id } })
    expect(a.task.id).not.toBe(there.id)
    await gateway.up()
    await eventually(async () => (await rows()).length === 2)
    await eventually(() => stored(fleet).every(({ state }) => state === 'handed'))
    expect(await daemon.chosen.queue.get(a.task.id)).toMatchObject({ id: there.id, prompt: 'There' })
    expect((await rows()).map(({ id }) => id)).toEqual([there.id, b.task.id])
  })

  test('no more are accepted than may be queued', TEST, async () => {
    await using fleet = await fleetOf('max_queued = 2')
    const daemon = await fleet.start()
    await away(daemon)
    for (const prompt of ['One', 'Two']) await addTask(daemon, prompt, { labels: ['nobody'] })
    await expect(addTask(daemon, 'Three')).rejects.toMatchObject({ code: 'QUEUE_FULL', retryAfterMs: 30_000 })
    await gateway.up()
    await eventually(async () => (await rows()).length === 2)
  })

  test('an id that another task has by then, or of a clock that is days ahead, is not taken', async () => {
    const taken = await insertTask(supabase(), system)
    const handOver = async (id: string, key: string) => {
      const [row] = await supabase().asAdmin<{ answer: { task: { id: string }; inserted: boolean } }>(
        `SELECT task_hand_over($1, $2, 'work', 'x', null, null, 0, null, null, '{}', '{}', null, '{}', null, '{}', null, null,
           null, 'api', null, $3) AS answer`,
        [system, id, key],
      )
      return row?.answer
    }
    const other = await handOver(taken, 'k1')
    expect(other?.inserted).toBe(true)
    expect(other?.task.id).not.toBe(taken)
    expect(await handOver(taken, 'k1')).toEqual(other)
    expect((await handOver('zzzzzzzzzzzz', 'k2'))?.task.id).not.toBe('zzzzzzzzzzzz')
    expect((await handOver('; drop table', 'k3'))?.task.id).toMatch(/^[0-9a-z]{12}$/)
    expect(await insertTask(supabase(), system)).not.toMatch(/^z/)
  })
})
