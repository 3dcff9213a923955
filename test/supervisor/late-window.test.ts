import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CcmError } from '../../src/core/errors.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { THEN } from '../../src/tmux/command.ts'
import { createFleet, eventually } from './fleet.ts'

test(
  'a window that tmux opens only when it goes on, after its launch was given up, starts no agent',
  { timeout: 60_000 },
  async () => {
    await using fleet = await createFleet()
    const { tmux, hookEvents } = fleet.deps
    let late: string[] | null = null
    let isLate = false
    const agent = (id: string) => join(fleet.home, 'attempts', `${id}.1`, 'agent.pid')
    const supervisor = createSupervisor({
      ...fleet.deps,
      tmux: {
        ...tmux,
        // It stands still from the first window on.
        async run(commands) {
          const make = commands[0]?.[0] === 'new-window' ? commands[0] : null
          if (make !== null && late === null)
            late = make.slice(make.indexOf('--') + 1, make.indexOf(THEN)).map(String)
          if (late !== null && !isLate) throw new CcmError('TMUX_FAILED', 'tmux stands still.')
          return tmux.run(commands)
        },
      },
      hookEvents: {
        ...hookEvents,
        // Asked when nothing more of the agent is looked for, before its outcome is stored.
        ofAttempt(lease) {
          if (late !== null && !isLate) {
            isLate = true
            const window = ['new-window', '-d', '-t', '=ccm:', '--', ...late]
            execFileSync('tmux', ['-S', tmux.socketPath, ...window])
            const until = performance.now() + 1500
            while (!existsSync(agent(lease.taskId)) && performance.now() < until)
              execFileSync('sleep', ['0.1'])
          }
          return hookEvents.ofAttempt(lease)
        },
      },
    })
    await supervisor.begin()
    const id = await fleet.add('Do it')
    await eventually(async () => (await fleet.queue.get(id))?.status === 'queued' && isLate, 30_000)
    expect(existsSync(agent(id))).toBe(false)
    expect(fleet.deps.attempts.newestOf(id)).toMatchObject({ attempt: 1, endKind: 'start' })
    await supervisor.close('end')
  },
)
