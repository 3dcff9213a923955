import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import { App } from '@supabase/lite'
import { PgliteConnection } from '@supabase/lite/pglite'
import { Kysely, PostgresDialect } from 'kysely'
import { Client, Pool, types, type QueryResultRow } from 'pg'
import { migratePostgres, readPostgresMigrations } from '../../src/queue/supabase/migrate.ts'
import { startPostgres, type TestPostgres } from './postgres.ts'

process.env['DO_NOT_TRACK'] = '1'

/** Where the migrations are that `supabase db push` would apply. */
export const MIGRATIONS = join(import.meta.dirname, '../../supabase/migrations')

/** A stand-in for a Supabase project: real PostgreSQL with our migrations, and REST, RPC and auth by @supabase/lite. */
export type TestSupabase = AsyncDisposable & {
  postgres: TestPostgres
  url: string
  secretKey: string
  publishableKey: string
  /** Runs SQL as `postgres`, as the dashboard does. */
  sql: <Row extends QueryResultRow>(text: string, values?: unknown[]) => Promise<Row[]>
  /** Runs SQL as the superuser, for what only the test may do. */
  asAdmin: <Row extends QueryResultRow>(text: string, values?: unknown[]) => Promise<Row[]>
  /** A connection string as the dashboard shows it. */
  databaseUrl: string
}

/** What hosted Supabase has before any migration: its roles, the owner of `public`, and no default privileges. */
export const ROLES = `
  CREATE ROLE anon; CREATE ROLE authenticated; CREATE ROLE service_role BYPASSRLS;
  CREATE ROLE postgres LOGIN CREATEROLE CREATEDB BYPASSRLS REPLICATION PASSWORD '%password%';
  GRANT anon, authenticated, service_role TO postgres;
  ALTER DATABASE postgres OWNER TO postgres;
  ALTER SCHEMA public OWNER TO postgres;
  CREATE PUBLICATION supabase_realtime;
  ALTER PUBLICATION supabase_realtime OWNER TO postgres;
  GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role`

/** Takes back what @supabase/lite grants by itself, so that a GRANT missing in our migrations shows. */
const NO_DEFAULTS = `
  REVOKE ALL ON ALL TABLES IN SCHEMA public FROM anon, authenticated, service_role;
  REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM anon, authenticated, service_role;
  ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM anon, authenticated, service_role;
  ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM anon, authenticated, service_role;
  ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`

/** A server with Supabase's roles; `postgres` logs in with the superuser's password. */
export async function startDatabase(settings: string[] = []): Promise<TestPostgres> {
  const postgres = await startPostgres(settings)
  const password = new URL(postgres.url()).password
  const admin = new Client({ connectionString: postgres.url() })
  await admin.connect()
  await admin.query(ROLES.replace('%password%', password))
  await admin.end()
  return postgres
}

/** Starts the stand-in with every migration applied. */
export async function startSupabase(settings: string[] = ['fsync=off']): Promise<TestSupabase> {
  const postgres = await startDatabase(settings)
  const poolOf = (user: string): Pool => {
    const pool = new Pool({ connectionString: postgres.url(user), max: 4 })
    ignoreBreaks(pool)
    return pool
  }
  const [owner, admin] = [poolOf('postgres'), poolOf('supabase_admin')]
  const secretKey = `sb_secret_${crypto.randomUUID()}`
  const publishableKey = `sb_publishable_${crypto.randomUUID()}`
  const connection = liteConnection(postgres.url())
  const auth = {
    enabled: true,
    jwt_secret: crypto.randomUUID(),
    publishable_key: publishableKey,
    secret_key: secretKey,
  }
  const app = new App({ connection, auth })
  await app.init()
  await app.ensureSystemSchema()
  // It grants everything once, at the first request after it saw a table with RLS: let that pass before ours exist.
  await admin.query('CREATE TABLE public.seen (); ALTER TABLE public.seen ENABLE ROW LEVEL SECURITY')
  const server = serve({
    fetch: (request: Request) => app.fetch(request, { peerAddress: null }),
    port: 0,
    hostname: '127.0.0.1',
  })
  if (!server.listening) await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await fetch(`${url}/rest/v1/seen`, { headers: { apikey: secretKey } })
  await admin.query(`DROP TABLE public.seen; DROP SCHEMA supabase_migrations CASCADE; ${NO_DEFAULTS}`)
  const databaseUrl = postgres.url('postgres')
  await migratePostgres(databaseUrl, readPostgresMigrations(MIGRATIONS))
  await connection.clearSchemaCache()

  const query =
    (pool: Pool): TestSupabase['sql'] =>
    async <Row extends QueryResultRow>(text: string, values?: unknown[]) =>
      (await pool.query<Row>(text, values)).rows
  return {
    postgres,
    url,
    secretKey,
    publishableKey,
    databaseUrl,
    sql: query(owner),
    asAdmin: query(admin),
    [Symbol.asyncDispose]: async () => {
      server.close()
      if ('closeAllConnections' in server) server.closeAllConnections()
      // The server first: a pool waits for its queries, and without a server each of them ends.
      await postgres[Symbol.asyncDispose]()
      await Promise.allSettled([owner.end(), admin.end(), connection.close()])
    },
  }
}

/** @supabase/lite on `pg`: its own PostgreSQL driver needs a package of its own, its PGlite sibling shares the rest. */
function liteConnection(connectionString: string) {
  const pool = new Pool({
    connectionString,
    max: 8,
    options: '-c TimeZone=UTC',
    types: { getTypeParser: typeParser as typeof types.getTypeParser },
  })
  ignoreBreaks(pool)
  const Base = Object.getPrototypeOf(PgliteConnection) as typeof PgliteConnection
  class PgConnection extends Base {
    constructor() {
      super({})
      this.kysely = new Kysely({ dialect: new PostgresDialect({ pool }) })
    }
    override async close(): Promise<void> {
      await pool.end()
    }
  }
  return new PgConnection()
}

/** For a pool whose server tests stop: the query that breaks says so, and an idle connection need not. */
export function ignoreBreaks(pool: Pool): void {
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
}

const BIGINT = 20
const TIMES = [1082, 1114, 1184]
const NAME_ARRAYS = [1002, 1003]
const TEXT_ARRAY = 1009

/** Times as the server writes them, and lists of names as lists. */
function typeParser(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (oid === BIGINT) return Number
  if (TIMES.includes(oid)) return (value) => value
  return types.getTypeParser(NAME_ARRAYS.includes(oid) ? TEXT_ARRAY : oid, format ?? 'text') as (
    value: string,
  ) => unknown
}
