import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, eventually } from './fleet.ts'

test(
  'an agent that asked in prose waits since then, however often the daemon is started again, until its time is up',
  { timeout: 60_000 },
  async () => {
    await using fleet = await createFleet()
    const { attempts } = fleet.deps
    let supervisor = createSupervisor(fleet.deps)
    await supervisor.begin()
    const of = { taskId: await fleet.add('Task asking'), attempt: 1 }
    await fleet.agentOf(of.taskId)
    const spool = join(fleet.home, 'attempts', `${of.taskId}.1`, 'spool')
    const stop = {
      session_id: attempts.get(of)?.claudeSessionId,
      hook_event_name: 'Stop',
      last_assistant_message: 'Which one, the red or the blue?',
    }
    writeFileSync(join(spool, '9.part'), JSON.stringify(stop))
    renameSync(join(spool, '9.part'), join(spool, '009.json'))
    await eventually(() => attempts.get(of)?.state === 'waiting')
    const asked = attempts.get(of)
    const chain = attempts.chain(of.taskId)
    const pending = () => supervisor.agents()[0]?.watcher?.answers.pending()
    const question = pending()
    expect(question).toMatchObject({ detail: 'Which one, the red or the blue?' })

    const restart = async (settings = fleet.deps.settings) => {
      await supervisor.close('keep')
      supervisor = createSupervisor({ ...fleet.deps, settings })
      await supervisor.begin()
      await eventually(() => supervisor.agents()[0]?.watcher?.screen())
    }
    for (let daemon = 2; daemon <= 4; daemon++) {
      await restart()
      expect(attempts.get(of)).toEqual(asked)
      expect(attempts.chain(of.taskId)).toEqual(chain)
      // Whoever was told of the question before may still answer it.
      expect(pending()).toEqual(question)
    }
    // So long ago, whichever daemon counts.
    const waitingMs = Date.now() - (asked?.stateAt ?? 0)
    const { deadlines } = fleet.deps.settings
    await restart({ ...fleet.deps.settings, deadlines: { ...deadlines, waitingMs } })
    const task = await eventually(async () => {
      const now = await fleet.queue.get(of.taskId)
      return now?.status === 'failed' ? now : null
    }, 20_000)
    expect(task.error).toMatch(/^Nobody answered for/)
    await supervisor.close('end')
  },
)

test('neither the question of an agent nor its screen shows a secret, and its id is that of what was asked', async () => {
  await using fleet = await createFleet()
  const { attempts } = fleet.deps
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  const taskId = await fleet.add('Task asking')
  const of = { taskId, attempt: 1 }
  await fleet.agentOf(taskId)
  const folder = join(fleet.home, 'attempts', `${taskId}.1`)
  writeFileSync(join(folder, 'said'), 'PGPASSWORD=hunter2hunter2 psql\n')
  const request = {
    session_id: attempts.get(of)?.claudeSessionId,
    hook_event_name: 'PermissionRequest',
    tool_name: 'Bash',
    tool_input: { command: 'PGPASSWORD=hunter2hunter2 psql' },
  }
  writeFileSync(join(folder, 'spool/9.part'), JSON.stringify(request))
  renameSync(join(folder, 'spool/9.part'), join(folder, 'spool/009.json'))
  await eventually(() => attempts.get(of)?.state === 'waiting')
  const task = await fleet.queue.get(taskId)
  if (task === null) throw new Error('the task is gone')
  const { waitingFor } = await supervisor.factsOf(task)
  expect(waitingFor?.detail).toContain('PGPASSWORD=*** psql')
  expect(waitingFor?.id).toBe(supervisor.agents()[0]?.watcher?.answers.pending()?.id)
  const screen = await eventually(async () => {
    const now = await supervisor.screen(taskId)
    return now?.includes('psql') === true ? now : null
  })
  expect(screen).toContain('PGPASSWORD=*** psql')
  await supervisor.close('end')
})
