import Sqlite from 'better-sqlite3'
import { expect, test, vi } from 'vitest'
import { whySick } from '../../src/daemon/fitness.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createBeats } from '../../src/supervisor/loops/beats.ts'
import { signal } from '../support/signal.ts'
import { openTestTmux } from '../tmux/fixture.ts'

// What the daemon asks itself before it tells systemd that it is well, with a real tmux and a real database.
vi.setConfig({ testTimeout: 60_000 })

async function open() {
  const tmux = await openTestTmux()
  const home = temporaryHome()
  const db = openForTest(home.file)
  const world = { now: 0 }
  const beats = createBeats(() => world.now)
  beats.beat('sweep')
  const pidOfTmux = async () => {
    const [reply] = await tmux.server.run([['display-message', '-p', '#{pid}']], { readOnly: true })
    return reply?.ok === true ? Number(reply.text) : 0
  }
  return {
    world,
    beats,
    home,
    pidOfTmux,
    why: () => whySick({ beats, loopMs: 1000, tmux: tmux.server, db }),
    async [Symbol.asyncDispose]() {
      db.close()
      home[Symbol.dispose]()
      await tmux[Symbol.asyncDispose]()
    },
  }
}

test('a loop without a beat within its limit is told, and one that beats again is not', async () => {
  await using daemon = await open()
  expect(await daemon.why()).toBeNull()
  daemon.world.now = 1001
  expect(await daemon.why()).toBe('the sweep stands still')
  daemon.beats.beat('sweep')
  expect(await daemon.why()).toBeNull()
})

test('tmux that is gone is started again', async () => {
  await using daemon = await open()
  const before = await daemon.pidOfTmux()
  signal(before, 'SIGKILL')
  expect(await daemon.why()).toBeNull()
  const after = await daemon.pidOfTmux()
  expect(after).toBeGreaterThan(0)
  expect(after).not.toBe(before)
})

test('a tmux that answers nothing is told', async () => {
  await using daemon = await open()
  const pid = await daemon.pidOfTmux()
  signal(pid, 'SIGSTOP')
  try {
    await expect(daemon.why()).rejects.toThrow('tmux does not answer')
  } finally {
    signal(pid, 'SIGCONT')
  }
  expect(await daemon.why()).toBeNull()
})

test('a database that can be read and not written is told', async () => {
  await using daemon = await open()
  const other = new Sqlite(daemon.home.file)
  other.exec('BEGIN IMMEDIATE')
  await expect(daemon.why()).rejects.toThrow(/locked|busy/i)
  other.exec('ROLLBACK')
  other.close()
  expect(await daemon.why()).toBeNull()
})
