import { expect, test } from 'vitest'
import { createPatientFetch } from './patient-fetch.ts'

/** Answers in order, then 200; waits take no time and are told. */
function prepare(answers: Response[]) {
  const waits: number[] = []
  let sent = 0
  const patient = createPatientFetch({
    fetch: async () => {
      sent += 1
      return answers.shift() ?? new Response('[]')
    },
    wait: async (ms) => waits.push(ms),
    random: () => 0.5,
  })
  return { patient, waits, sent: () => sent }
}
const CLAIM = 'https://ref.supabase.co/rest/v1/rpc/tasks_claim'
const INSERT = 'https://ref.supabase.co/rest/v1/rpc/task_insert'
const HEARTBEAT = 'https://ref.supabase.co/rest/v1/rpc/tasks_heartbeat'
const putOff = (until: number | string, status = 503, date?: string) =>
  new Response('{}', {
    status,
    headers: { 'retry-after': String(until), ...(date === undefined ? {} : { date }) },
  })

/** Less what has passed meanwhile. */
const near = (ms: number): unknown => expect.toSatisfy((value: number) => value <= ms && value > ms - 200)

test('what Retry-After asks for is waited for by every call, each with a wait of its own added', async () => {
  const { patient, waits, sent } = prepare([putOff(5)])
  expect((await patient(INSERT, { method: 'POST' })).status).toBe(200)
  expect(sent()).toBe(2)
  await patient(HEARTBEAT, { method: 'POST' })
  // 500 ms of the second try, 250 of a first one.
  expect(waits).toEqual([near(5500), near(5250)])
})

test('a claim that was answered 503 is not sent again: what it took would be known to nobody', async () => {
  const { patient, waits, sent } = prepare([putOff(5)])
  expect((await patient(CLAIM, { method: 'POST' })).status).toBe(503)
  await patient(HEARTBEAT, { method: 'POST' })
  expect([sent(), waits]).toEqual([2, [near(5250)]])
})

test('of two that ask the one that lasts longer counts', async () => {
  const { patient, waits } = prepare([putOff(20), putOff(1)])
  await patient(INSERT, { method: 'POST' })
  expect(waits).toHaveLength(2)
  expect(waits[1]).toBeGreaterThan(19_000)
})

test('one that is too long is answered as it is, and other calls are not sent', async () => {
  const { patient, waits, sent } = prepare([putOff(31, 429)])
  expect((await patient(INSERT, { method: 'POST' })).status).toBe(429)
  await expect(patient(HEARTBEAT, { method: 'POST' })).rejects.toThrow('left alone for 31 s more')
  expect([waits, sent()]).toEqual([[], 1])
})

test('a date counts from the date of the answer, whatever the clock here says, and is as bounded as seconds are', async () => {
  const at = 'Sun, 06 Nov 1994 08:49:37 GMT'
  const { patient, waits } = prepare([putOff('Sun, 06 Nov 1994 08:49:42 GMT', 503, at)])
  await patient(INSERT, { method: 'POST' })
  expect(waits).toEqual([near(5500)])

  const long = prepare([putOff('Mon, 07 Nov 1994 08:49:37 GMT', 503, at)])
  expect((await long.patient(INSERT, { method: 'POST' })).status).toBe(503)
  await expect(long.patient(INSERT, { method: 'POST' })).rejects.toThrow('left alone for 120 s more')
})

test('a date in an answer without one counts from the clock here', async () => {
  const { patient, waits } = prepare([putOff(new Date(Date.now() + 20_000).toUTCString())])
  await patient(INSERT, { method: 'POST' })
  expect(waits).toEqual([expect.toSatisfy((ms: number) => ms > 18_000 && ms <= 20_500)])
})

test.each(['0', 'Sun, 06 Nov 1994 08:49:37 GMT', '2099-01-01', 'soon', ''])(
  'with Retry-After %j the wait is the usual one',
  async (until) => {
    const { patient, waits } = prepare([putOff(until)])
    await patient(INSERT, { method: 'POST' })
    expect(waits).toEqual([250])
  },
)
