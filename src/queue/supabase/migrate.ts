import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { CcmError, messageOf } from '../../core/errors.ts'

/** One file of migrations/postgres: `<version>_<name>.sql`. */
export type PostgresMigration = { version: string; name: string; sql: string }

/** PostgREST knows tables and functions from a cache; hosted Supabase renews it by itself, a few seconds later. */
const RELOAD = `NOTIFY pgrst, 'reload schema';\n`

/** What a migration run found and did; names in the order of their versions. */
export type MigrationReport = { applied: string[]; before: string[] }

/** Any number; it only keeps two migrators apart. */
const LOCK = 7_226_020_261_120

/** The table in which the Supabase CLI notes what it has applied. */
const HISTORY = `CREATE SCHEMA IF NOT EXISTS supabase_migrations;
CREATE TABLE IF NOT EXISTS supabase_migrations.schema_migrations (version text PRIMARY KEY);
ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS statements text[];
ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS name text;
`

/**
 * The migrations as SQL for an empty database, to be run by hand: each in a transaction of its own, and noted, so that
 * later ones can be brought by `migratePostgres` or the Supabase CLI.
 */
export function printMigrations(migrations: PostgresMigration[]): string {
  const texts = migrations.map(
    ({ version, name, sql }) => `-- ${version}_${name}.sql
BEGIN;
${sql.trimEnd()}
INSERT INTO supabase_migrations.schema_migrations (version, name) VALUES ('${version}', '${name}');
COMMIT;
`,
  )
  return [HISTORY, ...texts, RELOAD].join('\n')
}

/** The migrations of a folder, oldest first. */
export function readPostgresMigrations(folder: string): PostgresMigration[] {
  return readdirSync(folder)
    .toSorted()
    .flatMap((file) => {
      const [, version, name] = /^(\d{14})_(\w+)\.sql$/.exec(file) ?? []
      return version === undefined || name === undefined
        ? []
        : [{ version, name, sql: readFileSync(join(folder, file), 'utf8') }]
    })
}

/**
 * Brings a Supabase database to the newest of `migrations`, each in a transaction of its own, and notes them where
 * the Supabase CLI looks, so that `supabase db push` and this may follow each other. Running it again does nothing.
 * Throws CcmError DATABASE_TOO_NEW, untouched, where a newer ccm has been, SUPABASE_UNREACHABLE and
 * SUPABASE_REFUSED; no message holds the connection string or a part of it.
 */
export async function migratePostgres(
  connectionString: string,
  migrations: PostgresMigration[],
): Promise<MigrationReport> {
  const client = await connect(connectionString)
  try {
    const before = await alone(client, async () => {
      await client.query(HISTORY)
      return refuseNewer(client, migrations)
    })
    const missing = migrations.filter(({ version }) => !before.some((known) => known.version === version))
    const applied: string[] = []
    for (const migration of missing) if (await apply(client, migration)) applied.push(migration.name)
    if (applied.length > 0) await client.query(RELOAD)
    return { applied, before: before.map(({ name }) => name) }
  } catch (error) {
    if (error instanceof CcmError) throw error
    throw new CcmError('SUPABASE_REFUSED', `The database refused a migration: ${messageOf(error)}`, {
      remedy: 'Connect as the owner of the database, on Supabase as postgres, and run it again.',
      cause: error,
    })
  } finally {
    await client.end().catch(() => {})
  }
}

async function connect(connectionString: string): Promise<Client> {
  if (!/^postgres(?:ql)?:\/\/[^/@]+@/.test(connectionString) || !URL.canParse(connectionString)) {
    throw new CcmError(
      'BAD_INPUT',
      'The connection string is none: it must be like postgres://USER:PASSWORD@HOST:5432/postgres.',
      {
        remedy:
          'Copy it from the dashboard (Connect) and put the password of the database into it, percent-encoded.',
      },
    )
  }
  try {
    const client = new Client({
      connectionString,
      connectionTimeoutMillis: 10_000,
      application_name: 'ccm supabase migrate',
    })
    // A connection that breaks between two queries says so in the next one.
    client.on('error', () => {})
    await client.connect()
    return client
  } catch (error) {
    throw new CcmError('SUPABASE_UNREACHABLE', `The database cannot be reached: ${reasonOf(error)}`, {
      remedy:
        'Copy the connection string from the dashboard again (Connect, "Session pooler" or "Direct connection").',
    })
  }
}

/** What a connection failed of, without what the connection string held: host and password stay out. */
function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null
  if (code === '28P01' || code === '28000') return 'user or password are wrong.'
  if (code === '3D000') return 'there is no database of that name.'
  return code === null ? 'nobody answers within 10 s.' : `the connection failed with ${code}.`
}

type Known = { version: string; name: string }

async function refuseNewer(client: Client, migrations: PostgresMigration[]): Promise<Known[]> {
  const { rows } = await client.query<Known>(
    `SELECT version, name FROM supabase_migrations.schema_migrations WHERE name LIKE 'ccm\\_%' ORDER BY version`,
  )
  const newest = rows.at(-1)
  if (newest !== undefined && newest.version > (migrations.at(-1)?.version ?? '')) {
    throw new CcmError(
      'DATABASE_TOO_NEW',
      `The Supabase database was set up by a newer ccm (migration ${newest.version}_${newest.name}).`,
      { remedy: 'Install that version of ccm or a newer one on this machine.' },
    )
  }
  return rows
}

/** False: another migrator has brought it since. */
async function apply(client: Client, { version, name, sql }: PostgresMigration): Promise<boolean> {
  try {
    return await alone(client, async () => {
      const { rows } = await client.query(
        'SELECT FROM supabase_migrations.schema_migrations WHERE version = $1',
        [version],
      )
      if (rows.length > 0) return false
      await client.query(sql)
      await client.query(
        'INSERT INTO supabase_migrations.schema_migrations (version, name, statements) VALUES ($1, $2, $3)',
        [version, name, [sql]],
      )
      return true
    })
  } catch (error) {
    throw new Error(`${version}_${name}: ${messageOf(error)}`, { cause: error })
  }
}

/** In a transaction that holds the lock: a pooler may keep the connection, and with it what belongs to no transaction. */
async function alone<T>(client: Client, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN')
  try {
    await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK])
    const answer = await work()
    await client.query('COMMIT')
    return answer
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}
