import { expect, test } from 'vitest'
import { inTurn, runs, says } from '../e2e/replies.ts'
import { createStage } from '../e2e/stage.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']

test(
  "a task that has used up its budget is ended with what it has, and the project's next one is not begun",
  { timeout: 120_000 },
  async () => {
    // Each reply counts 3300 tokens: the first one is over the limit, and its tool runs while that is noticed.
    await using stage = await createStage(
      inTurn(runs('echo half > half.txt'), runs('tail -f /dev/null'), says('[DONE]')),
      {
        config: '[budget]\ntask_tokens = 1500\n',
      },
    )
    const { id, project } = await stage.add('Spend.', ...BYPASS)
    const task = await stage.end(id, 60_000)
    expect(task).toMatchObject({ status: 'failed', attempt: 1 })
    expect(task.error).toMatch(/^The budget of this task is used up: \d+ of 1500 tokens\.$/)
    expect(task.result?.errors).toContainEqual(expect.objectContaining({ kind: 'budget' }))
    expect(task.result?.tools.map(({ command }) => command)).toContain('echo half > half.txt')
    expect(stage.processesOf(id)).toEqual([])
    // What was used is kept over a crash, and holds the next task.
    await stage.crash()
    const set = await stage.ccm(['projects', 'set', project, 'max_tokens_per_day=1500'])
    expect(set.stderr).toBe('')
    const next = await stage.add('Spend more.', ...BYPASS)
    const waiting = await stage.until(
      next.id,
      ({ state_reason }) => state_reason?.startsWith('budget: ') === true,
    )
    expect(waiting).toMatchObject({ status: 'queued', attempt: 0 })
    expect(waiting.state_reason).toContain(`of project ${project} for today`)
    await stage.ccm(['projects', 'set', project, 'max_tokens_per_day=100000000'])
    await stage.until(next.id, ({ attempt }) => attempt === 1)
  },
)
