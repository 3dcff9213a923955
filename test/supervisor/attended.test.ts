import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { pastOf } from '../../src/supervisor/attempts/past.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { testEnvironment } from '../tmux/fixture.ts'
import { createFleet, eventually } from './fleet.ts'

/** The prefix and a key that is bound to nothing: tmux takes both, and the agent's screen stays as it is. */
const KEYS = '\u0002Z'

test(
  'whoever presses keys at a window holds up its deadlines; a terminal that is left open and forgotten holds up nothing',
  { timeout: 60_000 },
  async () => {
    await using fleet = await createFleet()
    const settings = {
      ...fleet.deps.settings,
      attendedMs: 1000,
      deadlines: { startMs: 6000, noActivityMs: 6000, totalMs: 6000, waitingMs: 6000 },
    }
    const supervisor = createSupervisor({ ...fleet.deps, settings })
    await supervisor.begin()
    const id = await fleet.add('Task watched')
    await fleet.agentOf(id)
    const { windowId } = await eventually(() => fleet.deps.attempts.get({ taskId: id, attempt: 1 }))
    const attach = fleet.tmux.attachArgv(windowId ?? '').map((word) => `'${word}'`)
    const person = spawn('script', ['-qc', `exec ${attach.join(' ')}`, '/dev/null'], {
      env: { ...testEnvironment(fleet.folder), TERM: 'xterm-256color' },
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    const typing = setInterval(() => person.stdin.write(KEYS), 300)
    try {
      await new Promise((resolve) => setTimeout(resolve, 9000))
      expect(await fleet.queue.get(id)).toMatchObject({ status: 'running', attempt: 1, error: null })
      // A daemon that takes it back counts none of that.
      const attempt = await eventually(() => fleet.deps.attempts.get({ taskId: id, attempt: 1 }))
      expect(pastOf(attempt, fleet.deps).pausedMs).toBeGreaterThan(3000)
      clearInterval(typing)
      const task = await eventually(async () => {
        const now = await fleet.queue.get(id)
        return now?.status === 'failed' ? now : null
      }, 20_000)
      expect(task.error).toMatch(/^It (?:showed no activity for|took longer than) 6 s/)
      expect(person.exitCode).toBe(null)
    } finally {
      clearInterval(typing)
      person.kill()
      await once(person, 'exit')
      await supervisor.close('keep')
    }
  },
)
