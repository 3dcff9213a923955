import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { attemptFiles } from '../agent/launch.ts'
import { createAttempts } from '../store/attempts.ts'
import { openForTest, temporaryHome } from '../store/temporary-database.ts'
import { adoptAll } from './adopt.ts'
import { newAttempt } from './attempts/start-window.ts'
import type { Settings } from './attempts/settings.ts'
import type { Task } from '../core/task/task.ts'

const WINDOW = { serverPid: 1, serverStartedAt: 1, windowId: '@1', paneId: '%1', windowName: 'x' }

type Options = Parameters<typeof adoptAll>[0]

/** A home with one claimed attempt, and what looks after it. */
function createBench() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  const settings = {
    home: home.folder,
    claude: { permissionMode: 'manual', allowedTools: [], env: {} },
  } as unknown as Settings
  const task = { id: 'adopted-1', attempt: 1, status: 'running', source: 'api', allowedTools: [] }
  const attempt = newAttempt(task as unknown as Task, null, settings, 1)
  attempts.open(attempt)
  const asked: string[] = []
  const taken: string[] = []
  const options = {
    queue: {
      heartbeat: async (leases: { taskId: string }[]) => (
        asked.push(`renew ${leases.map(({ taskId }) => taskId).join()}`),
        []
      ),
      get: async (id: string) => (asked.push(`get ${id}`), null as unknown),
      mine: async () => [],
    },
    attempts,
    runner: { agents: new Map<string, unknown>(), adopt: async ({ id }: Task) => void taken.push(id) },
    tmux: { run: async () => [{ ok: true, text: '' }] },
    home: home.folder,
    deadly: { is: () => false },
    clock: () => 2,
    ended: async () => undefined,
  }
  return {
    attempt,
    attempts,
    task,
    asked,
    taken,
    options,
    adopt: (more: object = {}) => adoptAll({ ...options, ...more } as unknown as Options),
    [Symbol.dispose]() {
      db.close()
      home[Symbol.dispose]()
    },
  }
}

test.each([
  ['stored', true, false],
  ['not stored', false, true],
])(
  'the spool of an attempt that is out of date goes where its events are %s',
  async (_what, isStored, stays) => {
    using bench = createBench()
    const { attempt, attempts } = bench
    const { spool } = attemptFiles(attempt.folder)
    mkdirSync(spool, { recursive: true })
    const event = join(spool, 'a.json')
    writeFileSync(event, '{}')
    await bench.adopt({
      ended: async () => {
        if (isStored) rmSync(event)
      },
    })
    expect(attempts.get(attempt)?.phase).toBe('settled')
    expect([existsSync(event), existsSync(spool)]).toEqual([stays, stays])
  },
)

test('the leases of all attempts are renewed before any of them is looked at', async () => {
  using bench = createBench()
  await bench.adopt()
  expect(bench.asked).toEqual(['renew adopted-1', 'get adopted-1'])
})

test('an agent that was taken back before the queue answered is not taken back again', async () => {
  using bench = createBench()
  const { attempt, attempts, options, task } = bench
  attempts.setStarting(attempt)
  attempts.setStarted(attempt, WINDOW)
  options.queue.get = async () => task
  await bench.adopt()
  expect(bench.taken).toEqual(['adopted-1'])
  options.runner.agents.set('adopted-1', { attempt })
  expect(await bench.adopt()).toEqual([])
  expect(bench.taken).toEqual(['adopted-1'])
})

test.each([
  { attempt: 2, status: 'running' },
  { attempt: 1, status: 'succeeded' },
])(
  'an attempt that the queue has gone on without is ended and not taken back: $status, $attempt',
  async (now) => {
    using bench = createBench()
    const { attempt, attempts, options, task } = bench
    attempts.setStarting(attempt)
    attempts.setStarted(attempt, WINDOW)
    options.queue.get = async () => ({ ...task, ...now })
    expect(await bench.adopt()).toEqual([expect.stringContaining('out of date')])
    expect([attempts.get(attempt)?.phase, bench.taken]).toEqual(['settled', []])
  },
)

test('a task at which daemons died is told of first, ended unread, and forgotten last', async () => {
  using bench = createBench()
  const { attempt, attempts, options, task } = bench
  const order: string[] = []
  const { taskId } = attempt
  const report = { taskId, attempt: 1, outcome: 'failed_permanent', result: null, error: null }
  const deadly = {
    is: () => true,
    tell: () => void order.push('tell'),
    reportOf: () => report,
    sentenceOf: () => '',
    over: () => void order.push(`over ${attempts.get(attempt)?.phase}`),
  }
  options.queue.get = async () => task
  await bench.adopt({ deadly })
  expect([order, bench.taken]).toEqual([['tell', 'over settled'], []])
  // Claimed, and no attempt begun.
  order.length = 0
  const queue = {
    ...options.queue,
    mine: async () => [{ ...task, id: 'other' }],
    finish: async ({ outcome }: { outcome: string }) => void order.push(outcome),
  }
  await bench.adopt({ deadly, queue })
  expect(order.slice(0, 2)).toEqual(['tell', 'failed_permanent'])
  expect(order).toHaveLength(3)
})

test('a task that another home claimed under our name waits until its agent there has ended', async () => {
  using bench = createBench()
  const { attempt, attempts, options, task } = bench
  attempts.settle(
    { ...attempt, outcome: 'released', result: null, error: null, retryAfterMs: 0, resume: null },
    3,
  )
  const waits: (number | null)[] = []
  const queue = {
    ...options.queue,
    mine: async () => [{ ...task, id: 'other', claudeSessionId: null }],
    finish: async (report: { retryAfterMs: number | null }) => void waits.push(report.retryAfterMs),
  }
  for (const ms of [0, 5000]) await bench.adopt({ queue, elsewhereMs: () => ms })
  expect(waits).toEqual([0, 5000])
})
