import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import type { IncidentJson } from '../../src/protocol/incident.ts'
import { refuses, says } from '../e2e/replies.ts'
import { createStage } from '../e2e/stage.ts'
import { budgetOf } from './fixture.ts'

/** A subscription's login in place of a key: only there are usage limits. */
const SUBSCRIBED = {
  apiKey: null,
  claudeEnv: { CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy-000000000000000000' },
  git: false,
}

const limitedUntil = (resetAtS: number): ScriptedReply =>
  refuses(429, 'rate_limit_error', "This request would exceed your account's rate limit.", {
    'anthropic-ratelimit-unified-status': 'rejected',
    'anthropic-ratelimit-unified-reset': String(resetAtS),
    'anthropic-ratelimit-unified-representative-claim': 'five_hour',
  })

const wasInterrupted = ({ userBlocks }: ModelRequest) =>
  userBlocks.some((block) => block.startsWith('You were interrupted (The usage limit'))

test(
  'a parked task survives a daemon that is killed meanwhile: nothing is begun before the reset, then its session goes on',
  { timeout: 240_000 },
  async () => {
    const resetAt = Math.ceil(Date.now() / 1000) + 40
    await using stage = await createStage(
      () => (Date.now() < resetAt * 1000 ? limitedUntil(resetAt) : says('At last.\n[DONE]')),
      SUBSCRIBED,
    )
    const { id } = await stage.add('Work')
    await stage.until(id, ({ status, attempt }) => status === 'queued' && attempt === 1, 60_000)
    expect((await stage.status()).holds.join()).toMatch(/limit: The account's usage limit is reached until/)
    await stage.crash()
    await stage.ccm(['start'])
    // Only what was stored can know it now.
    expect((await stage.status()).holds.join()).toMatch(/limit: The account's usage limit is reached until/)
    const other = await stage.add('Work, too')
    expect(await stage.task(other.id)).toMatchObject({
      attempt: 0,
      state_reason: expect.stringMatching(/^limit: /),
    })
    expect(await stage.end(id, 120_000)).toMatchObject({ status: 'succeeded', attempt: 2 })
    expect(await stage.end(other.id, 60_000)).toMatchObject({ status: 'succeeded', attempt: 1 })
    expect(budgetOf(stage, id)).toEqual({ failures: 0, lost_leases: 0 })
    for (const { at } of stage.model.requests.slice(1)) expect(at).toBeGreaterThanOrEqual(resetAt * 1000)
    expect(stage.model.requests.filter(wasInterrupted)).toHaveLength(1)
    const incidents = await stage.json<IncidentJson[]>(['incidents'])
    expect(incidents.find(({ kind }) => kind === 'usage_limit')).toMatchObject({
      task_id: id,
      action: 'Its next attempt was started.',
    })
  },
)

test('with parking off a usage limit fails its task with the reason', { timeout: 120_000 }, async () => {
  const resetAt = Math.ceil(Date.now() / 1000) + 600
  await using stage = await createStage(() => limitedUntil(resetAt), {
    ...SUBSCRIBED,
    config: '[limits]\npark = false',
  })
  const { id } = await stage.add('Work')
  const task = await stage.end(id, 60_000)
  expect(task).toMatchObject({ status: 'failed', attempt: 1 })
  expect(task.error).toMatch(/limit/i)
})
