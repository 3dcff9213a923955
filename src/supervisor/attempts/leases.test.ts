import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { Queue } from '../../core/task/queue.ts'
import { createLeaseKeeper } from './leases.ts'
import type { Runner } from './runner.ts'

const LEASE = { taskId: 't', attempt: 1 }

/** One agent with a deadline that has passed while `isOver`, and a queue that answers as `heartbeat` does. */
function createBench(leaseMs: number, heartbeat: (deadline: { isOver: boolean }) => Promise<void>) {
  const ends: string[] = []
  const deadline = { isOver: false }
  const agents = new Map([['t', { task: { id: 't', attempt: 1 }, attempt: LEASE }]])
  const end: Runner['end'] = (_, { kind }) => ends.push(kind) > 0
  let answered: () => Promise<unknown> = async () => null
  const keeper = createLeaseKeeper({
    pulse: (_, running) => {
      answered = running
      return { close: () => undefined }
    },
    queue: {
      async heartbeat() {
        await heartbeat(deadline)
        return [{ ...LEASE, ok: true, cancel: false, expiresAt: null }]
      },
    } as unknown as Queue,
    runner: { agents, end } as unknown as Runner,
    everyMs: 300,
    logger: pino({ level: 'silent' }),
    fence: { leaseMs, now: () => 0, move: () => undefined, isOver: () => deadline.isOver },
  })
  return { ends, deadline, renew: keeper.renew, answered: () => answered(), [Symbol.dispose]: keeper.close }
}

test('an agent whose deadline passed in a sleep lives on while the answer to a last renewal may come', async () => {
  using bench = createBench(600_000, async (deadline) => {
    await sleep(400)
    deadline.isOver = false
  })
  bench.deadline.isOver = true
  await sleep(700)
  expect(bench.ends).toEqual([])
})

test('what was asked before the sleep is waited for and asked anew; without an answer it ends in time', async () => {
  let calls = 0
  using bench = createBench(6000, async (deadline) => {
    calls++
    deadline.isOver = true
    await (calls === 1 ? sleep(100) : new Promise(() => undefined))
  })
  await sleep(700)
  expect([calls, bench.ends]).toEqual([2, []])
  await sleep(600)
  expect(bench.ends).toContain('lost_lease')
})

test('of a renewal that is over nothing is kept', async () => {
  using bench = createBench(600_000, async () => undefined)
  await bench.renew()
  await bench.renew()
  expect(await bench.answered()).toBeUndefined()
})

test('what is said of an attempt that is over by then does not end the next one of its task', async () => {
  const ends: string[] = []
  const agents = new Map([['t', { task: { id: 't', attempt: 1 }, attempt: LEASE }]])
  const keeper = createLeaseKeeper({
    queue: {
      async heartbeat() {
        agents.set('t', { task: { id: 't', attempt: 2 }, attempt: { taskId: 't', attempt: 2 } })
        return [{ ...LEASE, ok: false, cancel: false, expiresAt: null }]
      },
    } as unknown as Queue,
    runner: { agents, end: (id: string) => ends.push(id) } as unknown as Runner,
    everyMs: 60_000,
    logger: pino({ level: 'silent' }),
  })
  await keeper.renew()
  keeper.close()
  expect(ends).toEqual([])
})
