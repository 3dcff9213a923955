import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSharedRecords } from '../../src/queue/supabase/records.ts'
import { createSupabase } from '../../src/queue/supabase/client.ts'
import { createIncidents } from '../../src/store/incidents.ts'
import { createSharedLog } from '../../src/store/shared-log.ts'
import { createSpending } from '../../src/store/spending.ts'
import { eventually } from '../supervisor/fleet.ts'
import { openGateway, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createSharedFleet, insertTask, newSystem } from './shared-fleet.ts'

describeOnSupabase('what a machine tells beside the queue', (supabase) => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await openGateway(supabase())
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())

  test(
    'each minute of a worker is a row: agents, outcomes, tokens and cost',
    { timeout: 60_000 },
    async () => {
      const system = await newSystem(supabase())
      await using fleet = await createSharedFleet(supabase(), { url: gateway.url, system, worker: 'm1' })
      const minute = Date.UTC(2026, 0, 1, 12, 0)
      const usage = {
        input_tokens: 10,
        output_tokens: 5,
        cache_read_input_tokens: 2,
        cache_creation_input_tokens: 1,
      }
      createSpending(fleet.db).record('t', 'work', [
        { id: 'a', model: 'm', usage, costUsd: 0.5, at: minute + 1 },
      ])
      const log = createSharedLog(fleet.db)
      log.noteMinute(minute, 3, 7)
      log.noteMinute(minute, 9, 9)
      expect(log.minutes(minute + 119_999, 9)).toEqual([])
      const minutes = log.minutes(minute + 120_000, 9)
      const { client } = createSupabase({ url: gateway.url, secretKey: supabase().secretKey })
      const records = createSharedRecords(client, { system, worker: 'm1', secretKey: supabase().secretKey })
      await records.putMetrics(minutes)
      await records.putMetrics(minutes)
      const rows = () =>
        supabase().sql(
          `SELECT running, queued, succeeded, input_tokens::int AS input, output_tokens::int AS output, cost_usd
         FROM metrics WHERE system_id = $1`,
          [system],
        )
      expect(await rows()).toEqual([
        { running: 9, queued: 9, succeeded: 0, input: 13, output: 5, cost_usd: 0.5 },
      ])
      await records.prune(Date.now() - minute + 60_000)
      expect(await rows()).toHaveLength(1)
      await records.prune(Date.now() - minute - 60_000)
      expect(await rows()).toEqual([])
    },
  )

  test(
    'what went wrong on a machine is a row of incidents, and its end comes to it',
    { timeout: 60_000 },
    async () => {
      const system = await newSystem(supabase())
      await using fleet = await createSharedFleet(supabase(), { url: gateway.url, system, worker: 'm1' })
      const daemon = await fleet.start()
      const incidents = createIncidents(fleet.db)
      const incident = {
        kind: 'disk_full' as const,
        key: 'disk',
        what: 'The disk is full: \0.',
        evidence: 'ENOSPC',
        action: 'Make room.',
        alert: true,
        taskId: null,
        attempt: null,
        openedAt: Date.UTC(2026, 0, 1),
      }
      incidents.open(incident, [])
      // What is older than is kept goes by the way.
      await supabase().sql(
        `INSERT INTO metrics (system_id, worker, minute) SELECT $1, 'm1', now() - d * interval '1 day' FROM unnest('{1,400}'::int[]) AS d`,
        [system],
      )
      const rows = () =>
        supabase().sql<{ open: boolean }>(
          `SELECT worker, kind, message, at::date::text AS day, resolved_at IS NULL AS open, data ->> 'action' AS action
         FROM incidents WHERE system_id = $1`,
          [system],
        )
      await eventually(async () => {
        daemon.supervisor.changed('x')
        return (await rows()).length > 0
      })
      expect(await rows()).toEqual([
        {
          worker: 'm1',
          kind: 'disk_full',
          message: 'The disk is full: \ufffd.',
          day: '2026-01-01',
          open: true,
          action: 'Make room.',
        },
      ])
      await daemon.close()
      incidents.close('disk', Date.UTC(2026, 0, 1, 1), null)
      const next = await fleet.start()
      await eventually(async () => {
        next.supervisor.changed('x')
        return (await rows())[0]?.open === false
      })
      expect(await rows()).toHaveLength(1)
      expect(
        await supabase().sql(
          `SELECT count(*)::int AS old FROM metrics WHERE system_id = $1 AND minute < now() - interval '12 hours'`,
          [system],
        ),
      ).toEqual([{ old: 1 }])
      await next.close()
    },
  )

  test('records of a worker that is gone are deleted with the time by any other', async () => {
    const system = await newSystem(supabase())
    const { sql, secretKey } = supabase()
    for (const worker of ['gone', 'lives', 'm1']) {
      await sql(`SELECT worker_register($1, $2, '{}')`, [system, worker])
      for (const days of [1, 40]) {
        const at = new Date(Date.now() - days * 86_400_000)
        const row = [system, worker, at]
        await sql('INSERT INTO metrics (system_id, worker, minute) VALUES ($1, $2, $3)', row)
        await sql(
          `INSERT INTO incidents (system_id, worker, seq, at, kind, message, resolved_at)
           VALUES ($1, $2, $4, $3, 'k', 'm', $3)`,
          [...row, days],
        )
      }
    }
    await sql(
      `UPDATE workers SET seen_at = now() - interval '25 days' WHERE system_id = $1 AND id = 'gone'`,
      [system],
    )
    const { client } = createSupabase({ url: gateway.url, secretKey })
    await createSharedRecords(client, { system, worker: 'm1', secretKey }).prune(20 * 86_400_000)
    for (const table of ['metrics', 'incidents'])
      expect(
        await sql(
          `SELECT worker, count(*)::int AS n FROM ${table} WHERE system_id = $1 GROUP BY worker ORDER BY worker`,
          [system],
        ),
      ).toEqual([
        { worker: 'gone', n: 1 },
        { worker: 'lives', n: 2 },
        { worker: 'm1', n: 1 },
      ])
  })

  test('an event of a task that is gone holds up no other', async () => {
    const system = await newSystem(supabase())
    const id = await insertTask(supabase(), system)
    const { client } = createSupabase({ url: gateway.url, secretKey: supabase().secretKey })
    const records = createSharedRecords(client, { system, worker: 'm1', secretKey: supabase().secretKey })
    const event = { attempt: 1, seq: 1, at: 0, kind: 'state' as const, message: 'x', data: {} }
    await records.putEvents([
      { ...event, taskId: 'gone' },
      { ...event, taskId: id },
    ])
    expect(await supabase().sql('SELECT task_id FROM task_events WHERE system_id = $1', [system])).toEqual([
      { task_id: id },
    ])
  })
})
