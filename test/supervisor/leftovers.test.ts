import { expect, test } from 'vitest'
import { newAgent, type RunningAgent } from '../../src/supervisor/attempts/running-agent.ts'
import { newAttempt } from '../../src/supervisor/attempts/start-window.ts'
import { createLeftovers } from '../../src/supervisor/leftovers.ts'
import { createFleet } from './fleet.ts'

test.each([false, true])(
  'what was held gives back its own place, and not that of the next attempt (which is there: %s)',
  async (isNextThere) => {
    await using fleet = await createFleet()
    const { settings, logger } = fleet.deps
    await fleet.add('Do it')
    const [task] = await fleet.queue.claim(1, { projects: ['work'], roles: null, labels: [] })
    if (task === undefined) throw new Error('nothing was claimed')
    const attempt = newAttempt(task, null, settings, Date.now())
    const agents = new Map<string, RunningAgent>()
    const free: string[] = []
    const settled = Promise.withResolvers<null>()
    createLeftovers({
      tmux: fleet.tmux,
      runner: { agents },
      workspaces: { takeBack: () => {}, leave: (id) => free.push(id) },
      settled: () => settled.resolve(null),
      logger,
    }).hold(task, attempt, () => {})
    const next = newAgent(task, { ...attempt, attempt: 2 })
    if (isNextThere) agents.set(task.id, next)
    await settled.promise
    expect([...agents.values()]).toEqual(isNextThere ? [next] : [])
    expect(free).toEqual(isNextThere ? [] : [task.id])
  },
)
