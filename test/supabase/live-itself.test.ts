import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSupabase } from '../../src/queue/supabase/client.ts'
import { openGateway, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { openLiveProject } from './live-project.ts'

const REPOSITORY = join(import.meta.dirname, '../..')
const VITEST = join(REPOSITORY, 'node_modules/vitest/vitest.mjs')
const TABLES = 'systems projects tasks task_attempts task_events workers templates metrics incidents'.split(
  ' ',
)

type Run = { tests: Record<'passed' | 'skipped' | 'failed', string[]>; output: string }

/** Runs live.test.ts with these variables, as a person would. */
async function runLive(variables: Record<string, string>): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-live-'))
  try {
    const file = join(folder, 'report.json')
    const args = ['run', '--project', 'supabase', 'test/supabase/live.test.ts', '--reporter=default']
    const { stdout, stderr } = await execa(
      process.execPath,
      [VITEST, ...args, '--reporter=json', `--outputFile.json=${file}`],
      {
        cwd: REPOSITORY,
        env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...variables },
        extendEnv: false,
        reject: false,
      },
    )
    const report = JSON.parse(readFileSync(file, 'utf8')) as {
      testResults: { assertionResults: { fullName: string; status: string }[] }[]
    }
    const tests: Run['tests'] = { passed: [], skipped: [], failed: [] }
    for (const { fullName, status } of report.testResults.flatMap((one) => one.assertionResults))
      tests[status === 'passed' || status === 'failed' ? status : 'skipped'].push(fullName)
    return { tests, output: stdout + stderr }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('without the variables nothing runs, and it is said why', async () => {
  const { tests, output } = await runLive({})
  expect([tests.passed, tests.failed]).toEqual([[], []])
  expect(tests.skipped.length).toBeGreaterThan(90)
  expect(output).toContain('CCM_TEST_SUPABASE_URL and CCM_TEST_SUPABASE_KEY name no project')
})

describeOnSupabase('the tests for a real project, on the stand-in', (supabase) => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await openGateway(supabase())
    // Somebody else works in the same project.
    const { sql } = supabase()
    await sql(`INSERT INTO systems (id, max_queued) VALUES ('ccm-test', 5)`)
    await sql(`INSERT INTO projects (system_id, name) VALUES ('ccm-test', 'app')`)
    await sql(`SELECT worker_register('ccm-test', 'w', '{}')`)
    for (const prompt of ['One', 'Two'])
      await sql(`INSERT INTO tasks (system_id, project, prompt) VALUES ('ccm-test', 'app', $1)`, [prompt])
    await sql(`SELECT FROM tasks_claim('ccm-test', 'w', 1, 1, 60000, '{app}', NULL, '{}')`)
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())

  /** Every row of every table, and what every function is made of. */
  const everything = async () => {
    const { sql } = supabase()
    const tables = await Promise.all(
      TABLES.map(async (table) => sql(`SELECT to_jsonb(t) AS row FROM ${table} AS t ORDER BY 1`)),
    )
    const functions = await sql(
      `SELECT oid::regprocedure::text AS name, pg_get_functiondef(oid) AS text, proacl::text FROM pg_proc
       WHERE pronamespace IN ('public'::regnamespace, 'ccm'::regnamespace) ORDER BY 1`,
    )
    return { tables, functions }
  }

  test('while the clock of a run stands still, nobody else’s does', async () => {
    const { url, secretKey, databaseUrl, sql } = supabase()
    const project = await openLiveProject({ url, secretKey, databaseUrl })
    try {
      const store = await project.open()
      await store.advance(-365 * 86_400_000)
      await store.worker('w').register()
      const { call } = createSupabase({ url, secretKey })
      await call('worker_register', { p_system: 'ccm-test', p_worker: 'w2', p_info: '' }, () => null)
      const seen = await sql<{ id: string; agoS: number }>(
        `SELECT id, extract(epoch FROM clock_timestamp() - seen_at)::int AS "agoS" FROM workers WHERE id IN ('w', 'w2') AND system_id IN ('ccm-test', $1)`,
        [project.system('1-s')],
      )
      expect(seen.filter(({ agoS }) => agoS > 300 * 86_400)).toMatchObject([{ id: 'w' }])
      expect(seen.filter(({ agoS }) => agoS < 600).map(({ id }) => id)).toContain('w2')
      expect(await sql(`SELECT abs(extract(epoch FROM clock_timestamp() - ccm.now())) < 60 AS now`)).toEqual([
        { now: true },
      ])
    } finally {
      await project.close()
    }
  })

  test('a second run at once waits for the first, whose clock goes on standing still', async () => {
    const { url, secretKey, databaseUrl, sql } = supabase()
    const access = { url, secretKey, databaseUrl }
    const first = await openLiveProject(access)
    const opening = openLiveProject(access)
    try {
      await expect
        .poll(async () => sql(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`), {
          timeout: 10_000,
        })
        .toHaveLength(1)
      const store = await first.open()
      await store.worker('w').register()
      const seen = `SELECT FROM workers WHERE system_id = $1 AND seen_at = '2026-01-01Z'`
      expect(await sql(seen, [first.system('1-s')])).toHaveLength(1)
    } finally {
      await first.close()
      await (await opening).close()
    }
  })

  test.each([
    ['a database to move the clock in', true],
    ['URL and key alone', false],
  ])('with %s they run, and leave everything as it was', { timeout: 300_000 }, async (_, withDatabase) => {
    const before = await everything()
    const { databaseUrl, secretKey } = supabase()
    const { tests, output } = await runLive({
      CCM_TEST_SUPABASE_URL: gateway.url,
      CCM_TEST_SUPABASE_KEY: secretKey,
      ...(withDatabase ? { CCM_TEST_SUPABASE_DB_URL: databaseUrl } : {}),
    })
    expect(tests.failed).toEqual([])
    expect(await everything()).toEqual(before)
    const all = tests.passed.length + tests.skipped.length
    expect(all).toBeGreaterThan(90)
    expect(tests.skipped.length).toBeLessThan(withDatabase ? 1 : all / 2)
    expect(output.includes('CCM_TEST_SUPABASE_DB_URL')).toBe(!withDatabase)
  })
})
