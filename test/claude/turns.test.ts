import { expect, test } from 'vitest'
import { createStage } from '../e2e/stage.ts'

test('text only: the last message without its marker is the result', async () => {
  await using stage = await createStage(() => ({ kind: 'message', text: 'Nothing to change.\n[DONE]' }))
  const { id } = await stage.add('Look around')
  const task = await stage.end(id)
  expect(task).toMatchObject({ status: 'succeeded', agent_state: 'complete', attempt: 1, error: null })
  expect(task.result).toMatchObject({ text: 'Nothing to change.', tools: [], files: [] })
  expect((await stage.events(id)).map((event) => event.hook_event_name)).toEqual(
    expect.arrayContaining(['SessionStart', 'UserPromptSubmit', 'Stop', 'SessionEnd']),
  )
  expect(stage.processesOf(id)).toEqual([])
})
