import { deepEqual } from 'node:assert/strict'
import { createSupabase, type Call } from '../../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { GRACE_MS, LEASE_MS, MAX_QUEUED, type QueueStore } from '../queue/bench.ts'
import type { TestSupabase } from '../support/supabase.ts'

/** Puts a clock into the database that only the tests move, in place of its own. */
export async function stopClock(supabase: TestSupabase): Promise<void> {
  await supabase.sql(`
    CREATE TABLE ccm.test_clock (at timestamptz NOT NULL);
    INSERT INTO ccm.test_clock VALUES ('2026-01-01Z');
    CREATE OR REPLACE FUNCTION ccm.now() RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$ SELECT at FROM ccm.test_clock $$`)
}

let stores = 0

/** Systems of their own on one database, its clock stopped; `call` goes over REST unless told. */
export async function openStore(supabase: TestSupabase, call?: Call): Promise<QueueStore> {
  stores += 1
  const prefix = `store-${stores}-`
  const systems = new Set<string>()
  const createSystem = (system: string): void => {
    if (systems.has(system)) return
    systems.add(system)
    creating = creating.then(() =>
      supabase.sql('INSERT INTO systems (id, max_queued) VALUES ($1, $2)', [system, MAX_QUEUED]),
    )
  }
  let creating: Promise<unknown> = Promise.resolve()
  const { url, secretKey } = supabase
  return {
    worker: (worker, system = 's') => {
      createSystem(prefix + system)
      const own = call ?? createSupabase({ url, secretKey }).call
      return createSupabaseQueue({
        call: async (name, parameters, parse) => {
          await creating
          return own(name, parameters, parse)
        },
        system: prefix + system,
        worker,
        newKey: () => crypto.randomUUID(),
        leaseMs: LEASE_MS,
        graceMs: GRACE_MS,
      })
    },
    now: async () => {
      const [row] = await supabase.sql<{ now: string }>(
        'SELECT (extract(epoch FROM at) * 1000)::bigint::text AS now FROM ccm.test_clock',
      )
      return Number(row?.now)
    },
    advance: async (ms) => {
      await supabase.sql(`UPDATE ccm.test_clock SET at = at + $1 * interval '1 millisecond'`, [ms])
    },
    close: async () => {},
  }
}

/**
 * Throws where a row says what none may, whoever wrote it: a task whose columns contradict each other or its attempts,
 * an attempt that ended without an outcome or the other way round.
 */
export async function checkRows(supabase: TestSupabase): Promise<void> {
  const task = `SELECT t.id, t.status, t.attempt, t.worker, t.scheduled_at, t.finished_at FROM tasks AS t`
  const tasks = await supabase.asAdmin(`${task}
    WHERE t.status NOT IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')
      OR (t.finished_at IS NOT NULL) <> (t.status IN ('succeeded', 'failed', 'cancelled', 'dead'))
      OR (t.status = 'running' AND t.worker IS NULL) OR t.scheduled_at IS NULL
      OR (t.status = 'running') <> EXISTS (
        SELECT FROM task_attempts AS a
        WHERE a.system_id = t.system_id AND a.task_id = t.id AND a.attempt = t.attempt AND a.project = t.project
          AND a.outcome IS NULL)`)
  const attempts = await supabase.asAdmin(`SELECT a.* FROM task_attempts AS a
    WHERE (a.outcome IS NULL) <> (a.ended_at IS NULL)
      OR a.outcome NOT IN ('succeeded', 'failed', 'failed_permanent', 'released', 'cancelled', 'lost')
      OR NOT EXISTS (SELECT FROM tasks AS t
        WHERE t.system_id = a.system_id AND t.id = a.task_id
          AND (t.attempt = a.attempt OR (t.attempt > a.attempt AND a.outcome IS NOT NULL)))`)
  deepEqual([...tasks, ...attempts], [])
}
