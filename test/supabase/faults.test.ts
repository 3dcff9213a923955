import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, expect, test } from 'vitest'
import { createSupabase } from '../../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import type { Queue } from '../../src/core/task/queue.ts'
import { from, newTask, reportOf } from '../queue/bench.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'

/** What happens to one request on its way; null: nothing. */
type Fault = ((pass: () => Promise<Response>, signal: AbortSignal | undefined) => Promise<Response>) | null

const answer =
  (status: number, body: string, headers: Record<string, string> = {}): Fault =>
  async () =>
    new Response(body, { status, headers: { 'content-type': 'application/json', ...headers } })
const refused: Fault = async () => {
  throw new TypeError('fetch failed', {
    cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
  })
}
const reset: Fault = async () => {
  throw new TypeError('fetch failed', { cause: Object.assign(new Error('read'), { code: 'ECONNRESET' }) })
}
/** The database has done it, and nobody hears of it. */
const lost: Fault = async (pass) => {
  await pass()
  throw new TypeError('fetch failed', { cause: Object.assign(new Error('read'), { code: 'ECONNRESET' }) })
}
/** The same, told by whoever stands in between. */
const lostBehind503: Fault = async (pass) => {
  await pass()
  return new Response('{"code":"PGRST001"}', { status: 503 })
}
const silent: Fault = async (_, signal) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error))
  })
const html = '<html><body>502 Bad Gateway</body></html>'

let systems = 0

describeOnSupabase('calls that fail on the way', (supabase) => {
  let faults: Fault[] = []
  let calls: string[] = []
  let queue: Queue
  beforeEach(async () => {
    systems += 1
    const { sql, url, secretKey } = supabase()
    await sql('INSERT INTO systems (id, max_queued) VALUES ($1, 5)', [`faults-${systems}`])
    const faulty: typeof fetch = async (input, init) => {
      const address = input instanceof Request ? input.url : String(input)
      calls.push(address.slice(address.lastIndexOf('/') + 1))
      const pass = async () => fetch(input, init)
      return faults.shift()?.(pass, init?.signal ?? undefined) ?? pass()
    }
    const { call } = createSupabase({ url, secretKey, fetch: faulty, timeoutMs: 1500, random: () => 0 })
    queue = createSupabaseQueue({
      call,
      system: `faults-${systems}`,
      worker: 'w',
      newKey: () => crypto.randomUUID(),
    })
    faults = []
    await queue.register()
    calls = []
  })
  const countTasks = async (): Promise<number> => (await queue.list({ limit: 100 })).length

  test.each([
    ['refused', refused],
    ['reset', reset],
    ['silent', silent],
    ['500', answer(500, '{"message":"oops"}')],
    ['502 in HTML', answer(502, html, { 'content-type': 'text/html' })],
    ['503', answer(503, '')],
    ['429 of a gateway', answer(429, '{"message":"slow down"}')],
    ['an answer lost after the commit', lost],
  ])('%s once: an insert goes through, and once only', async (_, fault) => {
    faults = [fault]
    const { task, inserted } = await queue.insert(newTask())
    expect(inserted).toBe(true)
    const { result: _result, ...listed } = task
    expect(await queue.list({ limit: 9 })).toEqual([listed])
  })

  test.each([
    ['refused', refused],
    ['silent', silent],
    ['500', answer(500, '{"message":"oops"}')],
    ['HTML', answer(502, html)],
    ['empty', answer(503, '')],
  ])('%s for good: SUPABASE_UNREACHABLE after four tries, without the key', async (_, fault) => {
    faults = [fault, fault, fault, fault]
    const error: unknown = await queue.count('queued').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'SUPABASE_UNREACHABLE', remedy: expect.any(String) })
    expect(JSON.stringify([String(error), error])).not.toContain(supabase().secretKey)
    expect(calls).toHaveLength(4)
  })

  test.each([
    ['HTML with status 200', answer(200, html, { 'content-type': 'text/html' })],
    ['nothing with status 200', answer(200, '')],
    ['JSON of somebody else', answer(200, '{"hello":"world"}')],
    ['half a row', answer(200, '[{"id":"x"}]')],
  ])('%s is no answer', async (_, fault) => {
    faults = [fault]
    await expect(queue.list({ limit: 1 })).rejects.toMatchObject({ code: 'SUPABASE_UNREACHABLE' })
  })

  test('Retry-After is waited for, and one that is too long is told at once', async () => {
    faults = [answer(503, '', { 'retry-after': '1' })]
    const startedAt = Date.now()
    await queue.count('queued')
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(990)
    faults = [answer(429, '{}', { 'retry-after': '3600' })]
    await expect(queue.count('queued')).rejects.toMatchObject({ code: 'SUPABASE_UNREACHABLE' })
    calls = []
    await expect(queue.count('queued')).rejects.toThrow(/left alone for 1[12]\d s more/)
    expect(calls).toEqual([])
  })

  test('a list that failed once on its way is asked for again', async () => {
    await queue.insert(newTask())
    faults = [reset]
    expect(await queue.list({ limit: 9 })).toHaveLength(1)
  })

  test('a full queue is an answer: it is not asked again', async () => {
    for (let count = 0; count < 5; count += 1) await queue.insert(newTask())
    calls = []
    await expect(queue.insert(newTask())).rejects.toMatchObject({ code: 'QUEUE_FULL', retryAfterMs: 30_000 })
    expect(calls).toEqual(['task_insert'])
  })

  test.each([
    ['nothing', lost],
    ['503', lostBehind503],
  ])(
    'a claim that was answered %s is never sent twice; the next gives out what it took',
    async (_, fault) => {
      for (let count = 0; count < 3; count += 1) await queue.insert(newTask())
      faults = [fault]
      await expect(queue.claim(3, from(['app']))).rejects.toMatchObject({ code: 'SUPABASE_UNREACHABLE' })
      expect(calls.filter((name) => name === 'tasks_claim')).toHaveLength(1)
      expect(await queue.count('running')).toBe(3)
      const recovered = await queue.claim(2, from(['app']))
      expect(recovered.map(({ attempt }) => attempt)).toEqual([1, 1])
      expect([await queue.count('running'), await queue.count('queued')]).toEqual([2, 1])
      expect(await queue.claim(9, from(['app']))).toMatchObject([{ attempt: 2, failures: 0 }])
      for (const task of recovered) expect(await queue.finish(reportOf(task, 'succeeded'))).toBe('succeeded')
    },
  )

  test('the lease of what a lost claim took begins anew when it is given out, and what cannot be renewed is not', async () => {
    for (let count = 0; count < 2; count += 1) await queue.insert(newTask())
    faults = [lost]
    await expect(queue.claim(2, from(['app']))).rejects.toMatchObject({ code: 'SUPABASE_UNREACHABLE' })
    const leases = async (): Promise<Date[]> => {
      const rows = await supabase().sql<{ at: Date }>(
        'SELECT lease_expires_at AS at FROM task_attempts WHERE system_id = $1 ORDER BY task_id',
        [`faults-${systems}`],
      )
      return rows.map(({ at }) => at)
    }
    const before = await leases()
    await sleep(50)
    // `tasks_mine`, then the renewal.
    faults = [
      null,
      async (pass) => {
        const rows = (await (await pass()).json()) as object[]
        return new Response(JSON.stringify(rows.map((row, n) => ({ ...row, ok: n === 0 }))))
      },
    ]
    const given = await queue.claim(2, from(['app']))
    expect(given).toHaveLength(1)
    for (const [n, at] of (await leases()).entries())
      expect(Number(at) - Number(before[n])).toBeGreaterThan(49)
  })

  test('a task that is at work already is not given out by that', async () => {
    await queue.insert(newTask())
    const [busy] = await queue.claim(1, from(['app']))
    faults = [silent]
    await expect(queue.claim(1, from(['app']))).rejects.toMatchObject({ code: 'SUPABASE_UNREACHABLE' })
    expect(await queue.claim(1, from(['app']))).toEqual([])
    expect(await queue.mine()).toMatchObject([{ id: busy?.id }])
  })

  test('a report whose answer got lost is a duplicate the second time, and counts once', async () => {
    await queue.insert(newTask())
    const [task] = await queue.claim(1, from(['app']))
    if (task === undefined) throw new Error('nothing was claimed')
    faults = [lost]
    expect(await queue.finish(reportOf(task, 'failed', { retryAfterMs: 0 }))).toBe('duplicate')
    expect(await queue.get(task.id)).toMatchObject({ status: 'queued', failures: 1 })
    expect(await countTasks()).toBe(1)
  })

  test.each([
    ['the publishable key', () => supabase().publishableKey, 'SUPABASE_REFUSED', /may not call/],
    ['a revoked key', () => 'sb_secret_0123456789', 'SUPABASE_KEY', /refused the key/],
  ])('%s is told from a network that is down', async (_, keyOf, code, message) => {
    const secretKey = keyOf()
    const { call } = createSupabase({ url: supabase().url, secretKey })
    const wrong = createSupabaseQueue({ call, system: 's', worker: 'w', newKey: () => 'k' })
    const error: unknown = await wrong.register().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect(String(error)).not.toContain(secretKey)
  })

  test('a system that does not exist, and functions that are missing, are told with the command that helps', async () => {
    const { url, secretKey } = supabase()
    const { call } = createSupabase({ url, secretKey })
    const typo = createSupabaseQueue({ call, system: 'typo', worker: 'w', newKey: () => 'k' })
    await expect(typo.register()).rejects.toMatchObject({
      code: 'SUPABASE_REFUSED',
      message: 'There is no system "typo".',
      remedy: expect.stringContaining('ccm supabase init'),
    })
    await expect(call('tasks_of_tomorrow', {}, () => null)).rejects.toMatchObject({
      code: 'SUPABASE_REFUSED',
      remedy: expect.stringContaining('ccm supabase migrate'),
    })
  })
})
