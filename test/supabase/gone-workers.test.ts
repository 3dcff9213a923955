import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createSupabase, type Call } from '../../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { createSharedRecords } from '../../src/queue/supabase/records.ts'
import { from, newTask, reportOf } from '../queue/bench.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { newSystem } from './shared-fleet.ts'

const DAY_MS = 86_400_000

describeOnSupabase('workers that are gone', (supabase) => {
  /** With `slow` its second registration and every later one takes a while, to and fro. */
  const workerOf = (system: string, worker: string, slow = false) => {
    const rest = createSupabase(supabase()).call
    let registrations = 0
    const call: Call = async (name, parameters, parse) => {
      const isSlow = slow && name === 'worker_register' && (registrations += 1) > 1
      if (isSlow) await sleep(200)
      const answer = await rest(name, parameters, parse)
      if (isSlow) await sleep(200)
      return answer
    }
    return createSupabaseQueue({ call, system, worker, newKey: () => crypto.randomUUID() })
  }
  const notSeenFor = async (system: string, worker: string, days: number) =>
    supabase().sql(
      `UPDATE workers SET seen_at = now() - $3 * interval '1 day' WHERE system_id = $1 AND id = $2`,
      [system, worker, days],
    )
  const prune = async (system: string, days: number) => {
    const { client } = createSupabase(supabase())
    const { secretKey } = supabase()
    await createSharedRecords(client, { system, worker: 'm1', secretKey }).prune(days * DAY_MS)
  }
  const workersOf = async (system: string) =>
    (
      await supabase().sql<{ id: string }>('SELECT id FROM workers WHERE system_id = $1 ORDER BY id', [
        system,
      ])
    ).map(({ id }) => id)
  const recordsOf = async (system: string) =>
    supabase().sql(
      `SELECT worker FROM metrics WHERE system_id = $1 UNION ALL SELECT worker FROM incidents WHERE system_id = $1 ORDER BY 1`,
      [system],
    )

  test('after 30 days, or the longer time that records are kept, they are forgotten with what they told', async () => {
    const [system, elsewhere] = [await newSystem(supabase()), await newSystem(supabase())]
    for (const worker of ['m1', 'away', 'gone', 'long-gone'])
      for (const of of [system, elsewhere]) {
        await workerOf(of, worker).register()
        const at = [of, worker, new Date()]
        await supabase().sql('INSERT INTO metrics (system_id, worker, minute) VALUES ($1, $2, $3)', at)
        // Nobody will ever resolve it.
        await supabase().sql(
          `INSERT INTO incidents (system_id, worker, seq, at, kind, message) VALUES ($1, $2, 1, $3, 'k', 'm')`,
          at,
        )
      }
    for (const [worker, days] of [
      ['away', 29],
      ['gone', 31],
      ['long-gone', 91],
      ['m1', 400],
    ] as const)
      for (const of of [system, elsewhere]) await notSeenFor(of, worker, days)
    await prune(system, 90)
    expect(await workersOf(system)).toEqual(['away', 'gone', 'm1'])
    await prune(system, 1)
    // Whoever asks is there, whatever its row says.
    expect(await workersOf(system)).toEqual(['away', 'm1'])
    expect(await recordsOf(system)).toEqual(['away', 'away', 'm1', 'm1'].map((worker) => ({ worker })))
    expect(await workersOf(elsewhere)).toHaveLength(4)
    expect(await recordsOf(elsewhere)).toHaveLength(8)
  })

  test('one that has an attempt open stays until that is over', async () => {
    const system = await newSystem(supabase())
    await workerOf(system, 'm1').register()
    const gone = workerOf(system, 'gone')
    await gone.register()
    await gone.insert(newTask({ project: 'work' }))
    const [task] = await gone.claim(1, from(['work']))
    if (task === undefined) throw new Error('nothing was claimed')
    await notSeenFor(system, 'gone', 31)
    await prune(system, 1)
    expect(await workersOf(system)).toEqual(['gone', 'm1'])
    await gone.finish(reportOf(task, 'succeeded'))
    await prune(system, 1)
    expect(await workersOf(system)).toEqual(['m1'])
  })

  test('one that is in the middle of a call is not gone', async () => {
    const system = await newSystem(supabase())
    for (const worker of ['m1', 'gone']) await workerOf(system, worker).register()
    await notSeenFor(system, 'gone', 31)
    const { Client } = await import('pg')
    const busy = new Client({ connectionString: supabase().databaseUrl })
    await busy.connect()
    await busy.query('BEGIN')
    await busy.query(`SELECT * FROM tasks_claim($1, 'gone', 1, 1, 60000, '{work}', NULL, '{}')`, [system])
    await prune(system, 1)
    expect(await workersOf(system)).toEqual(['gone', 'm1'])
    await busy.query('COMMIT')
    await busy.end()
  })

  test('one that comes back, its machine slept, works on under a new epoch; its older process may not', async () => {
    const system = await newSystem(supabase())
    await workerOf(system, 'm1').register()
    const [older, slept] = [workerOf(system, 'slept'), workerOf(system, 'slept', true)]
    expect([await older.register(), await slept.register()]).toEqual([1, 2])
    await notSeenFor(system, 'slept', 31)
    await prune(system, 1)
    expect(await workersOf(system)).toEqual(['m1'])
    // All that a daemon asks at once when it wakes up.
    const { task } = await slept.insert(newTask({ project: 'work' }))
    const [leases, claimed, mine] = await Promise.all([
      slept.heartbeat([{ taskId: task.id, attempt: 7 }]),
      slept.claim(1, from(['work'])),
      // The queue has registered it by then, and it does not know yet.
      sleep(300).then(async () => slept.heartbeat([])),
    ])
    expect([leases[0]?.ok, claimed.map(({ id }) => id), mine]).toEqual([false, [task.id], []])
    expect(
      await supabase().sql(`SELECT epoch FROM workers WHERE system_id = $1 AND id = 'slept'`, [system]),
    ).toEqual([{ epoch: 3 }])
    await expect(older.heartbeat([])).rejects.toMatchObject({ code: 'STALE_LEASE' })
    expect(await slept.finish(reportOf(claimed[0] ?? task, 'succeeded'))).toBe('succeeded')
  })

  test('one that comes back while all answers to its registration get lost is not replaced by itself', async () => {
    const system = await newSystem(supabase())
    await workerOf(system, 'm1').register()
    let isLost = false
    const { call } = createSupabase({
      ...supabase(),
      random: () => 0,
      fetch: async (input, init) => {
        const answer = await fetch(input, init)
        const address = input instanceof Request ? input.url : String(input)
        if (isLost && address.endsWith('/worker_register')) throw new TypeError('fetch failed')
        return answer
      },
    })
    const slept = createSupabaseQueue({ call, system, worker: 'slept', newKey: () => crypto.randomUUID() })
    await slept.register()
    await notSeenFor(system, 'slept', 31)
    await prune(system, 1)
    isLost = true
    const isAway = { code: 'SUPABASE_UNREACHABLE' }
    await expect(slept.heartbeat([])).rejects.toMatchObject(isAway)
    // The queue knows it again, and it has not heard of that.
    expect(await workersOf(system)).toEqual(['m1', 'slept'])
    await expect(slept.heartbeat([])).rejects.toMatchObject(isAway)
    isLost = false
    const { task } = await slept.insert(newTask({ project: 'work' }))
    const [leases, claimed] = await Promise.all([slept.heartbeat([]), slept.claim(1, from(['work']))])
    expect([leases, claimed.map(({ id }) => id)]).toEqual([[], [task.id]])
    expect(await slept.finish(reportOf(claimed[0] ?? task, 'succeeded'))).toBe('succeeded')
    // From here on a newer epoch is another process's again.
    await workerOf(system, 'slept').register()
    await expect(slept.heartbeat([])).rejects.toMatchObject({ code: 'STALE_LEASE' })
  })

  test('one that was replaced stays so when the other is forgotten, until it is started again', async () => {
    const system = await newSystem(supabase())
    await workerOf(system, 'm1').register()
    const [older, newer] = [workerOf(system, 'shared'), workerOf(system, 'shared')]
    expect([await older.register(), await newer.register()]).toEqual([1, 2])
    const isReplaced = { code: 'STALE_LEASE', message: expect.stringContaining('Another process') }
    await expect(older.heartbeat([])).rejects.toMatchObject(isReplaced)
    const forget = async () => {
      await notSeenFor(system, 'shared', 31)
      await prune(system, 1)
      expect(await workersOf(system)).toEqual(['m1'])
    }
    await forget()
    await expect(older.claim(1, from(['work']))).rejects.toMatchObject(isReplaced)
    await expect(older.heartbeat([])).rejects.toMatchObject(isReplaced)
    expect(await workersOf(system)).toEqual(['m1'])
    expect(await newer.heartbeat([])).toEqual([])
    await expect(older.heartbeat([])).rejects.toMatchObject(isReplaced)
    // As a start does; from here on it is the worker as any other is.
    await older.register()
    await forget()
    expect(await older.heartbeat([])).toEqual([])
    await expect(newer.heartbeat([])).rejects.toMatchObject(isReplaced)
  })
})
