import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { Client, Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NEWEST_MIGRATION } from '../../src/queue/supabase/check.ts'
import { migratePostgres, printMigrations, readPostgresMigrations } from '../../src/queue/supabase/migrate.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { createPostgresCall } from '../support/postgres-call.ts'
import { whyNoPostgres, type TestPostgres } from '../support/postgres.ts'
import { MIGRATIONS, startDatabase } from '../support/supabase.ts'

const whyNot = await whyNoPostgres()
/** All rights of others than the owner: on tables, views, their columns and functions. */
const RIGHTS = `
  SELECT coalesce(r.rolname, 'public') AS role, o.what COLLATE "C" AS what, a.privilege_type AS privilege
  FROM (
    SELECT c.oid::regclass::text, c.relowner, c.relacl, c.relnamespace FROM pg_class AS c WHERE c.relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT c.oid::regclass || '.' || t.attname, c.relowner, t.attacl, c.relnamespace
    FROM pg_class AS c JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
    UNION ALL
    SELECT p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), p.pronamespace
    FROM pg_proc AS p
  ) AS o (what, owner, acl, schema)
    CROSS JOIN LATERAL aclexplode(o.acl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
  WHERE o.schema IN ('public'::regnamespace, 'ccm'::regnamespace) AND a.grantee <> o.owner ORDER BY 1, 2, 3`
type Right = { role: string; what: string; privilege: string }
/** What workers call, and what stands in policies and triggers that their statements meet. */
const FUNCTIONS = `
  SELECT oid::regprocedure::text COLLATE "C" AS what FROM pg_proc
  WHERE pronamespace = 'public'::regnamespace OR oid IN ('ccm.now'::regproc, 'ccm.my_systems'::regproc) ORDER BY 1`
const reason = whyNot === null ? '' : ` [${whyNot}]`

describe.skipIf(whyNot !== null)(`ccm supabase migrate${reason}`, () => {
  let postgres: TestPostgres
  const migrations = readPostgresMigrations(MIGRATIONS)
  const names = migrations.map(({ name }) => name)
  beforeAll(async () => {
    postgres = await startDatabase(['fsync=off'])
  })
  afterAll(async () => postgres[Symbol.asyncDispose]())

  const asAdmin = async (database: string | undefined, text: string): Promise<void> => {
    const admin = new Client({ connectionString: postgres.url(undefined, database) })
    await admin.connect()
    await admin.query(text)
    await admin.end()
  }

  /** Runs SQL in an empty database of its own, which `postgres` owns as on Supabase. */
  const fresh = async (name: string): Promise<{ url: string; sql: (text: string) => Promise<unknown[]> }> => {
    await asAdmin(undefined, `CREATE DATABASE ${name} OWNER postgres`)
    const url = postgres.url('postgres', name)
    const sql = async (text: string): Promise<unknown[]> => {
      const client = new Client({ connectionString: url })
      await client.connect()
      try {
        return (await client.query<Record<string, unknown>>(text)).rows
      } finally {
        await client.end()
      }
    }
    await sql('ALTER SCHEMA public OWNER TO postgres').catch(() => {})
    return { url, sql }
  }

  test('an empty database gets everything, and a second run does nothing', async () => {
    const { url, sql } = await fresh('twice')
    expect(await migratePostgres(url, migrations)).toEqual({ applied: names, before: [] })
    expect(await migratePostgres(url, migrations)).toEqual({ applied: [], before: names })
    expect(
      await sql('SELECT version, name FROM supabase_migrations.schema_migrations ORDER BY version'),
    ).toEqual(migrations.map(({ version, name }) => ({ version, name })))
  })

  test('the newest migration says that it is, as the check of the set-up expects', async () => {
    const { url, sql } = await fresh('version')
    await migratePostgres(url, migrations)
    expect(await sql('SELECT queue_version() AS version')).toEqual([{ version: NEWEST_MIGRATION }])
    expect(migrations.at(-1)?.version).toBe(NEWEST_MIGRATION)
  })

  test('what is printed can be run as it is, and is noted where migrating looks', async () => {
    const { url, sql } = await fresh('printed')
    await sql(printMigrations(migrations))
    expect(await migratePostgres(url, migrations)).toEqual({ applied: [], before: names })
    expect(await sql('SELECT queue_version() AS version')).toEqual([{ version: NEWEST_MIGRATION }])
  })

  test('who may do what does not rest on default privileges, neither on those of old projects nor on none', async () => {
    const rightsIn = async (name: string, before: string) => {
      const { url, sql } = await fresh(name)
      await sql(before)
      await migratePostgres(url, migrations)
      return { rights: (await sql(RIGHTS)) as Right[], functions: await sql(FUNCTIONS) }
    }
    const grant = (objects: string) =>
      `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON ${objects} TO anon, authenticated, service_role`
    const { rights, functions } = await rightsIn('no_defaults', 'SELECT 1')
    const old = await rightsIn('old_defaults', ['TABLES', 'FUNCTIONS', 'SEQUENCES'].map(grant).join(';'))
    expect(old.rights).toEqual(rights)
    const calls = (role: string) =>
      rights.flatMap((right) => (right.role === role && right.privilege === 'EXECUTE' ? [right.what] : []))
    expect(calls('authenticated')).toEqual(['ccm.my_systems()', 'ccm.now()', 'task_cancel(text,text,text)'])
    expect(calls('service_role').map((what) => ({ what }))).toEqual(functions)
    expect(new Set(rights.map(({ role }) => role))).toEqual(new Set(['authenticated', 'service_role']))
  })

  test.each([
    ['not there', null],
    ['for the tables it names', 'CREATE PUBLICATION supabase_realtime'],
    ['for all tables', 'CREATE PUBLICATION supabase_realtime FOR ALL TABLES'],
    ['for all tables of the schema', 'CREATE PUBLICATION supabase_realtime FOR TABLES IN SCHEMA public'],
  ])('where the publication of Realtime is %s it has the tasks afterwards', async (kind, publication) => {
    const name = kind.replaceAll(' ', '_')
    const { url, sql } = await fresh(name)
    if (publication !== null) await asAdmin(name, publication)
    if (kind.startsWith('for the'))
      await asAdmin(name, 'ALTER PUBLICATION supabase_realtime OWNER TO postgres')
    expect(await migratePostgres(url, migrations)).toMatchObject({ applied: names })
    expect(
      await sql(
        `SELECT tablename FROM pg_publication_tables WHERE pubname = 'supabase_realtime' AND tablename = 'tasks'`,
      ),
    ).toEqual([{ tablename: 'tasks' }])
  })

  test('two at once apply each migration once', async () => {
    const { url } = await fresh('at_once')
    const reports = await Promise.all([migratePostgres(url, migrations), migratePostgres(url, migrations)])
    expect(reports.flatMap(({ applied }) => applied).toSorted()).toEqual(names.toSorted())
  })

  test('where a pooler keeps the connection it keeps no lock, for which the next migration would wait for ever', async () => {
    const { url, sql } = await fresh('pooled')
    const kept: Socket[] = []
    const pooler = createServer((client) => {
      const server = connect(postgres.port, '127.0.0.1')
      kept.push(server)
      server.pipe(client)
      client.on('data', (data) => {
        // The server is not told that the client has ended.
        if (data.toString('latin1') === 'X\0\0\0\u0004') client.end()
        else server.write(data)
      })
    }).listen(0, '127.0.0.1')
    try {
      await once(pooler, 'listening')
      const { port } = pooler.address() as AddressInfo
      expect(await migratePostgres(url.replace(`:${postgres.port}/`, `:${port}/`), migrations)).toMatchObject(
        { applied: names },
      )
      expect(
        await sql(`SELECT state, mode FROM pg_stat_activity
          LEFT JOIN pg_locks ON pg_locks.pid = pg_stat_activity.pid AND locktype = 'advisory'
          WHERE application_name = 'ccm supabase migrate'`),
      ).toEqual([{ state: 'idle', mode: null }])
    } finally {
      for (const server of kept) server.destroy()
      pooler.close()
    }
  })

  test('it goes on after what the Supabase CLI has applied, beside migrations of the project itself', async () => {
    const { url, sql } = await fresh('cli')
    const [first] = migrations
    await sql(`
      CREATE SCHEMA supabase_migrations;
      CREATE TABLE supabase_migrations.schema_migrations (version text NOT NULL PRIMARY KEY, statements text[], name text);
      INSERT INTO supabase_migrations.schema_migrations (version, name)
      VALUES ('${first?.version}', '${first?.name}'), ('20990101000000', 'their_own')`)
    await sql(first?.sql ?? '')
    expect(await migratePostgres(url, migrations)).toEqual({
      applied: names.slice(1),
      before: names.slice(0, 1),
    })
  })

  test('a database that a newer ccm has set up is refused, untouched', async () => {
    const { url, sql } = await fresh('newer')
    await migratePostgres(url, [
      ...migrations,
      { version: '20990101000000', name: 'ccm_later', sql: 'SELECT 1' },
    ])
    await expect(migratePostgres(url, migrations)).rejects.toMatchObject({
      code: 'DATABASE_TOO_NEW',
      message: expect.stringContaining('20990101000000_ccm_later'),
      remedy: expect.stringMatching(/newer/),
    })
    expect(await sql('SELECT version FROM supabase_migrations.schema_migrations')).toHaveLength(
      names.length + 1,
    )
  })

  test('what an older one took in is no hindrance: templates that are too long, tasks whose lists nobody could read', async () => {
    const { url, sql } = await fresh('old_rows')
    await migratePostgres(
      url,
      migrations.filter(({ version }) => version < '20261120000012'),
    )
    await sql(`
      INSERT INTO systems (id) VALUES ('s');
      INSERT INTO projects (system_id, name) VALUES ('s', 'app');
      INSERT INTO templates (system_id, name, prompt) VALUES ('s', repeat('a', 63), 'x'), ('s', 'long', repeat('x', 102401));
      INSERT INTO tasks (system_id, project, prompt, allowed_tools, disallowed_tools) VALUES
        ('s', 'app', 'nothing', '{NULL,Read}', '{""}'), ('s', 'app', 'lists', '{{Read,Edit}}', '{Bash}');
      UPDATE tasks SET labels = '{{gpu}}', only_worker = ''`)
    await migratePostgres(url, migrations)
    const pool = new Pool({ connectionString: url })
    const call = createPostgresCall(pool)
    const queue = createSupabaseQueue({ call, system: 's', worker: 'w', newKey: () => crypto.randomUUID() })
    try {
      await queue.register()
      const tasks = await queue.claim(9, { projects: ['app'], roles: null, labels: ['gpu'] })
      const labels = ['gpu']
      expect(tasks).toMatchObject([
        { prompt: 'nothing', labels, allowedTools: ['Read'], disallowedTools: [], onlyWorker: null },
        {
          prompt: 'lists',
          labels,
          allowedTools: ['Read', 'Edit'],
          disallowedTools: ['Bash'],
          onlyWorker: null,
        },
      ])
    } finally {
      await pool.end()
    }
    expect(await sql('SELECT name FROM templates')).toHaveLength(2)
    await expect(sql(`UPDATE templates SET description = 'x' WHERE name = 'long'`)).rejects.toThrow(
      'templates_prompt_length',
    )
  })

  test('a migration that fails leaves nothing of itself and says which it was', async () => {
    const { url, sql } = await fresh('failing')
    const broken = {
      version: '20260101000000',
      name: 'ccm_broken',
      sql: 'CREATE TABLE half (); SELECT 1 / 0',
    }
    await expect(migratePostgres(url, [broken])).rejects.toMatchObject({
      code: 'SUPABASE_REFUSED',
      message: expect.stringContaining('20260101000000_ccm_broken: division by zero'),
    })
    expect(await sql(`SELECT to_regclass('half') AS half`)).toEqual([{ half: null }])
    expect(await migratePostgres(url, migrations)).toMatchObject({ applied: names })
  })

  test.each([
    ['a wrong password', (url: string) => url.replace(/:[^:@]+@/, ':hunter2@'), 'user or password are wrong'],
    ['nobody there', (url: string) => url.replace(/:\d+\//, ':1/'), 'ECONNREFUSED'],
    ['no database', (url: string) => url.replace(/\w+$/, 'nowhere'), 'no database of that name'],
    ['no connection string', () => 'hunter2', 'is none'],
  ])('with %s it says so, without the connection string', async (_, change, message) => {
    const error: unknown = await migratePostgres(change(postgres.url('postgres')), migrations).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({
      code: expect.stringMatching(/^(?:SUPABASE_UNREACHABLE|BAD_INPUT)$/),
      message: expect.stringContaining(message),
    })
    expect(String(error)).not.toContain('hunter2')
    expect(String(error)).not.toContain(new URL(postgres.url()).password)
  })
})
