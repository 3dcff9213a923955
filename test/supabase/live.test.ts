import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkSupabase } from '../../src/queue/supabase/check.ts'
import { tryTask } from '../../src/queue/supabase/trial.ts'
import { queueContract } from '../queue/contract.ts'
import { openLiveProject, type LiveProject } from './live-project.ts'

const url = process.env['CCM_TEST_SUPABASE_URL'] ?? ''
const secretKey = process.env['CCM_TEST_SUPABASE_KEY'] ?? ''
const databaseUrl = process.env['CCM_TEST_SUPABASE_DB_URL'] ?? null
const logger = pino({ level: 'silent' })

const isNamed = url !== '' && secretKey !== ''
const why = isNamed ? '' : ' [skipped: CCM_TEST_SUPABASE_URL and CCM_TEST_SUPABASE_KEY name no project]'
if (!isNamed) console.warn(`No real Supabase project is tested${why}.`)
else if (databaseUrl === null)
  console.warn('Tests that move the clock are skipped: CCM_TEST_SUPABASE_DB_URL names no database.')

describe.skipIf(!isNamed)(`a Supabase project of one’s own${why}`, () => {
  let project: LiveProject | null = null
  const live = () => {
    if (project === null) throw new Error('The project is not open yet.')
    return project
  }
  beforeAll(async () => {
    project = await openLiveProject({ url, secretKey, databaseUrl })
    // Another run may have to end first.
  }, 600_000)
  afterAll(async () => project?.close(), 300_000)

  test('every check of ccm supabase init is good', async () => {
    const access = { url, secretKey, system: live().system('checks') }
    const checks = await checkSupabase(access, { make: true, logger })
    expect(checks.filter(({ state }) => state !== 'ok')).toEqual([])
    expect(checks.map(({ name }) => name)).toEqual(['url', 'key', 'tables', 'system', 'realtime'])
    // A task is heard of by Realtime, claimed and finished.
    expect(await tryTask(access, logger)).toMatchObject({ by: 'event' })
  })

  queueContract('live', async () => live().open())
})
