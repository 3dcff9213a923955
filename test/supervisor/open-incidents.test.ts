import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { IncidentKind } from '../../src/core/incident/incident.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, type Fleet } from './fleet.ts'

/** What an earlier daemon opened, and did not live to close. */
function open(fleet: Fleet, kind: IncidentKind, key: string, taskId: string | null = null) {
  const about = { what: 'It went wrong.', evidence: '', action: '', alert: false, attempt: 1, openedAt: 1 }
  fleet.deps.incidents.open({ kind, key, taskId, ...about }, [])
  return () => fleet.deps.incidents.openOne(key) !== null
}

test('that the tmux server ended is over when nobody waits for it, once what was left is taken over', async () => {
  await using fleet = await createFleet()
  const isOpen = open(fleet, 'tmux_died', 'tmux')
  const supervisor = createSupervisor(fleet.deps)
  // Some looks at the screens.
  await sleep(1000)
  expect(isOpen()).toBe(true)
  await supervisor.begin()
  await expect.poll(isOpen, { timeout: 10_000 }).toBe(false)
  await supervisor.close('keep')
})

test('what was wrong with a task is over when the task is', async () => {
  await using fleet = await createFleet()
  const id = await fleet.add('Do it')
  const isOpen = open(fleet, 'agent_failed', `task:${id}`, id)
  await fleet.queue.cancel(id, '')
  const supervisor = createSupervisor(fleet.deps)
  await expect.poll(isOpen, { timeout: 10_000 }).toBe(false)
  await supervisor.close('keep')
})
