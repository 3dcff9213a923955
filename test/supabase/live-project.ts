import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { TestRunner } from 'vitest'
import { createSupabase } from '../../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { GRACE_MS, LEASE_MS, MAX_QUEUED, reportOf, type QueueStore } from '../queue/bench.ts'
import { MIGRATIONS } from '../support/supabase.ts'

/** How a Supabase project is reached; `databaseUrl` is needed for tests that move the clock. */
export type LiveAccess = { url: string; secretKey: string; databaseUrl: string | null }

/** A real Supabase project, in which this run has systems of its own and touches nothing else. */
export type LiveProject = {
  /** A name for a system of this run. */
  system: (name: string) => string
  open: () => Promise<QueueStore>
  /** Deletes all systems of this run with everything in them, and puts the clock back. */
  close: () => Promise<void>
}

const NO_CLOCK = 'moves the clock: set CCM_TEST_SUPABASE_DB_URL'
/** `ccm.now()` as the migrations make it. */
const CLOCK = /create function (ccm\.now\(\).*?);/s.exec(
  readFileSync(join(MIGRATIONS, '20261120000001_ccm_tables.sql'), 'utf8'),
)?.[1]

/**
 * With a connection to the database each store has a clock that stands still: calls of this run carry its time in a header
 * of their own, which `ccm.now()` heeds until `close`; all other calls get the real time throughout. Without one, a test that
 * asks for the time or moves it is skipped and says why.
 */
export async function openLiveProject({ url, secretKey, databaseUrl }: LiveAccess): Promise<LiveProject> {
  const run = crypto.randomUUID()
  const prefix = `ccm-test-${run.slice(0, 8)}-`
  const rest = createSupabase({ url, secretKey })
  const database = databaseUrl === null ? null : new Client({ connectionString: databaseUrl })
  await database?.connect()
  // Two runs would take each other's clock away: a second one waits until the connection of the first is closed.
  await database?.query(`SELECT pg_advisory_lock(ccm.lock_key('live tests', ''))`)
  await database?.query(`
    CREATE OR REPLACE FUNCTION ccm.now() RETURNS timestamptz LANGUAGE sql VOLATILE SET search_path = ''
    AS $$
      SELECT coalesce(
        (SELECT pg_catalog.to_timestamp((h ->> 'x-ccm-test-now')::numeric / 1000)
          FROM (SELECT nullif(pg_catalog.current_setting('request.headers', true), '')::json AS h) AS r
          WHERE h ->> 'x-ccm-test-run' = '${run}'),
        pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp()))
    $$`)
  let stores = 0

  const open = async (): Promise<QueueStore> => {
    stores += 1
    const store = stores
    let now = Date.UTC(2026, 0, 1)
    const { call } = createSupabase({
      url,
      secretKey,
      fetch: async (input, init) => {
        const headers = new Headers(init?.headers)
        headers.set('x-ccm-test-run', run)
        headers.set('x-ccm-test-now', String(now))
        return fetch(input, { ...init, headers })
      },
    })
    const systems = new Map<string, Promise<unknown>>()
    const made = (p_system: string) => {
      const parameters = { p_system, p_max_queued: MAX_QUEUED, p_default_project: null }
      const making = systems.get(p_system) ?? call('configure_system', parameters, () => null)
      systems.set(p_system, making)
      return making
    }
    return {
      worker: (worker, name = 's') => {
        const system = `${prefix}${store}-${name}`
        return createSupabaseQueue({
          call: async (of, parameters, parse) => made(system).then(async () => call(of, parameters, parse)),
          system,
          worker,
          newKey: () => crypto.randomUUID(),
          leaseMs: LEASE_MS,
          graceMs: GRACE_MS,
        })
      },
      now: async () => (database === null ? skip() : now),
      advance: async (ms) => (database === null ? skip() : void (now += ms)),
      close: async () => {},
    }
  }

  /** What runs is ended by a new process of its worker, and what waits is cancelled: no other task may be deleted. */
  async function removeSystems(): Promise<void> {
    const { client, call } = rest
    const rowsOf = async (status: string) => {
      const { data } = await client
        .from('tasks')
        .select('id, system_id, worker')
        .like('system_id', `${prefix}%`)
        .eq('status', status)
        .throwOnError()
      return data as { id: string; system_id: string; worker: string | null }[]
    }
    for (const { system_id: system, worker } of await rowsOf('running')) {
      const queue = createSupabaseQueue({ call, system, worker: worker ?? '', newKey: () => '' })
      await queue.register()
      await queue.finishMany((await queue.mine()).map((task) => reportOf(task, 'cancelled')))
    }
    for (const { id, system_id } of await rowsOf('queued'))
      await call(
        'task_cancel',
        { p_system: system_id, p_task: id, p_reason: 'The test is over.' },
        () => null,
      )
    await client.from('tasks').delete().like('system_id', `${prefix}%`).throwOnError()
    await client.from('systems').delete().like('id', `${prefix}%`).throwOnError()
  }

  return {
    system: (name) => prefix + name,
    open,
    close: async () => {
      try {
        await removeSystems()
      } finally {
        await database?.query(`CREATE OR REPLACE FUNCTION ${CLOCK}`)
        await database?.end()
      }
    },
  }
}

function skip(): never {
  const test = TestRunner.getCurrentTest()
  if (test === undefined) throw new Error('Only a test can be skipped.')
  return test.context.skip(NO_CLOCK)
}
