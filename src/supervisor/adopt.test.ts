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
  const window = { serverPid: 1, serverStartedAt: 1, windowId: '@1', paneId: '%1', windowName: 'x' }
  attempts.setStarted(attempt, window)
  options.queue.get = async () => task
  await bench.adopt()
  expect(bench.taken).toEqual(['adopted-1'])
  options.runner.agents.set('adopted-1', { attempt })
  expect(await bench.adopt()).toEqual([])
  expect(bench.taken).toEqual(['adopted-1'])
})
