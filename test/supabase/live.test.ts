import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { checkSupabase } from '../../src/queue/supabase/check.ts'
import { tryTask } from '../../src/queue/supabase/trial.ts'
import { createSupabase } from '../../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { from, newTask, reportOf } from '../queue/bench.ts'

const url = process.env['CCM_TEST_SUPABASE_URL'] ?? ''
const secretKey = process.env['CCM_TEST_SUPABASE_KEY'] ?? ''
const access = { url, secretKey, system: 'ccm-live-test' }
const logger = pino({ level: 'silent' })

describe.skipIf(url === '' || secretKey === '')(
  'a Supabase project of one’s own [CCM_TEST_SUPABASE_URL and CCM_TEST_SUPABASE_KEY name none]',
  () => {
    test('every check of ccm supabase init is good', async () => {
      const checks = await checkSupabase(access, { make: true, logger })
      expect(checks.filter(({ state }) => state !== 'ok')).toEqual([])
      expect(checks.map(({ name }) => name)).toEqual(['url', 'key', 'tables', 'system', 'realtime'])
    })

    test('a task is heard of by Realtime, claimed and finished', async () => {
      expect(await tryTask(access, logger)).toMatchObject({ by: 'event' })
    })

    test('a task comes to its end, a stale report changes nothing, a key is alive once', async () => {
      const { call } = createSupabase({ url, secretKey })
      const project = `live-${crypto.randomUUID()}`
      const queue = createSupabaseQueue({
        call,
        system: access.system,
        worker: 'live-test',
        info: () => ({
          host: '',
          version: '',
          capacity: 0,
          roles: null,
          labels: [],
          projects: { [project]: '/' },
        }),
        newKey: () => crypto.randomUUID(),
      })
      await queue.register()
      const { task } = await queue.insert(newTask({ project, dedupeKey: project }))
      expect(await queue.insert(newTask({ project, dedupeKey: project }))).toMatchObject({
        inserted: false,
        task: { id: task.id },
      })
      const [claimed] = await queue.claim(1, from([project]))
      if (claimed === undefined) throw new Error('nothing was claimed')
      expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: true }])
      expect(await queue.finish({ ...reportOf(claimed, 'succeeded'), attempt: 7 })).not.toBe('succeeded')
      expect(await queue.finish(reportOf(claimed, 'succeeded'))).toBe('succeeded')
      expect(await queue.finish(reportOf(claimed, 'succeeded'))).toBe('duplicate')
    })
  },
)
