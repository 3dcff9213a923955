import { expect, test } from 'vitest'
import { CcmError } from '../../core/errors.ts'
import type { HookEvent } from '../../core/agent/hook-event.ts'
import type { RunningAgent } from './running-agent.ts'
import { createRunner, type RunnerDeps } from './runner.ts'

test('a watcher hears of a new session also where the session cannot be stored', () => {
  const setSession = () => {
    throw new CcmError('DISK_FULL', 'The disk is full.')
  }
  const runner = createRunner({ attempts: { setSession } } as unknown as RunnerDeps)
  const attempt = { taskId: 't1', attempt: 1, claudeSessionId: 'before' }
  const agent = { attempt, watcher: null, early: [] } as unknown as RunningAgent
  runner.agents.set('t1', agent)
  const payload = { hook_event_name: 'SessionStart', source: 'resume' }
  const start = { hookEventName: 'SessionStart', claudeSessionId: 'now', payload } as unknown as HookEvent
  expect(() => runner.onEvents({ taskId: 't1', attempt: 1 }, [start])).toThrow('full')
  expect(agent.early).toEqual([start])
  expect(attempt.claudeSessionId).toBe('now')
})
