import { readFileSync, readlinkSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import { inTurn, refuses, runs, says } from '../e2e/replies.ts'
import { createStage, type Stage } from '../e2e/stage.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']
const LIMIT_MS = 120_000
/** Claude Code refuses a bare `sleep 1000`. */
const FOR_EVER = 'tail -f /dev/null'

/** A subscription's login in place of a key: only there are usage limits. */
const SUBSCRIBED = {
  apiKey: null,
  claudeEnv: { CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy-000000000000000000' },
}

/** How Claude Code words what the API said. */
const SAID = /API Error|credit|issue with the selected model/i

/** What the API says, and what must become of the task. */
const REFUSALS = {
  'a 500': { reply: refuses(500, 'api_error', 'Internal server error'), kind: 'server', retried: true },
  'a 529': { reply: refuses(529, 'overloaded_error', 'Overloaded'), kind: 'overloaded', retried: true },
  'a 429 for an API key': {
    reply: refuses(429, 'rate_limit_error', 'Too many tokens a minute'),
    kind: 'rate_limit',
    retried: true,
  },
  'a 400': {
    reply: refuses(400, 'invalid_request_error', 'messages.3: tool_use ids must be unique'),
    kind: 'invalid',
    retried: false,
  },
  'a 404 for the model': {
    reply: refuses(404, 'not_found_error', 'model: claude-nine'),
    kind: 'invalid',
    retried: false,
  },
  'no money': {
    reply: refuses(400, 'invalid_request_error', 'Your credit balance is too low to access the API.'),
    kind: 'billing',
    retried: false,
  },
}

test(
  'API errors are typed: what may heal is tried again, what cannot fails at once',
  { timeout: 2 * LIMIT_MS },
  async () => {
    const names = Object.keys(REFUSALS) as (keyof typeof REFUSALS)[]
    await using stage = await createStage((request) => {
      const name = names.find((candidate) =>
        request.userBlocks.some((block) => block.endsWith(`: ${candidate}`)),
      )
      return name === undefined ? { kind: 'hang' } : REFUSALS[name].reply
    })
    const tasks = await Promise.all(
      names.map(async (name) => ({ name, id: (await stage.add(`You get: ${name}`)).id })),
    )
    const seen = await Promise.all(
      tasks.map(async ({ name, id }) => {
        const task = await stage.until(
          id,
          ({ agent_state, status }) => agent_state === 'error' && status !== 'running',
          90_000,
        )
        const { status, error } = task
        if (status === 'queued') await stage.ccm(['cancel', id])
        const failure = (await stage.chain(id)).find(({ to }) => to === 'error')
        const { attempt, evidence, reason = '' } = failure ?? {}
        // The result says it once, although hook, transcript and outcome all know it.
        const errors = task.result?.errors.filter(({ message }) => message === error).map(({ kind }) => kind)
        return {
          name,
          status,
          attempt,
          evidence,
          isSaid: SAID.test(reason),
          errors,
          isError: error === reason,
        }
      }),
    )
    expect(seen).toEqual(
      names.map((name) => {
        const { kind, retried } = REFUSALS[name]
        const found = { name, attempt: 1, evidence: kind, isSaid: true }
        return retried
          ? { ...found, status: 'queued', errors: undefined, isError: false }
          : { ...found, status: 'failed', errors: [kind], isError: true }
      }),
    )
  },
)

test('an error that Claude Code itself gets over costs no attempt', { timeout: LIMIT_MS }, async () => {
  await using stage = await createStage(
    inTurn(refuses(529, 'overloaded_error', 'Overloaded'), says('Fine.\n[DONE]')),
  )
  const { id } = await stage.add('Try')
  const { status, attempt } = await stage.end(id)
  expect({ status, attempt }).toEqual({ status: 'succeeded', attempt: 1 })
  expect(stage.model.requests).toHaveLength(2)
})

test(
  'after a failure the next attempt goes on in the same session, and can succeed',
  { timeout: LIMIT_MS },
  async () => {
    let reply: ScriptedReply = { kind: 'drop' }
    await using stage = await createStage(() => reply)
    const { id } = await stage.add('Try again')
    const first = await stage.until(id, ({ status, attempt }) => status === 'queued' && attempt === 1, 60_000)
    expect((await stage.chain(id)).at(-1)).toMatchObject({ to: 'error', evidence: 'network' })
    expect(first.state_reason).toMatch(/^scheduled: /)
    reply = says('Fine now.\n[DONE]')
    const task = await stage.end(id, 60_000)
    expect(task).toMatchObject({ status: 'succeeded', attempt: 2, error: null })
    expect(task.result).toMatchObject({ text: 'Fine now.', attempts: 2 })
    expect(task.claude_session_id).toBe(first.claude_session_id)
    expect(stage.model.requests.at(-1)?.userBlocks.join('\n')).toContain('Try again')
  },
)

test('nobody listens where the API should be: network, tried again', { timeout: LIMIT_MS }, async () => {
  const port = await closedPort()
  await using stage = await createStage(inTurn({ kind: 'hang' }), {
    claudeEnv: { ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}` },
  })
  const { id } = await stage.add('Call home')
  await stage.until(id, ({ status, attempt }) => status === 'queued' && attempt === 1, 90_000)
  expect((await stage.chain(id)).at(-1)).toMatchObject({ to: 'error', evidence: 'network' })
})

test(
  'a refused login costs the task nothing: it waits, and nothing else is begun',
  { timeout: LIMIT_MS },
  async () => {
    await using stage = await createStage(inTurn(refuses(401, 'authentication_error', 'invalid x-api-key')))
    const { id } = await stage.add('Go')
    const task = await stage.until(id, ({ status, attempt }) => status === 'queued' && attempt === 1, 60_000)
    expect(task.state_reason).toMatch(/^login: .*refused/)
    expect((await stage.chain(id)).at(-1)).toMatchObject({ to: 'error', evidence: 'auth' })
    const other = await stage.add('Me too')
    expect((await stage.task(other.id)).state_reason).toMatch(/^login: /)
    expect((await stage.status()).holds.join()).toMatch(/login/)
    expect((await stage.task(other.id)).attempt).toBe(0)
  },
)

test(
  'a usage limit gives the task back until the limit is reset, then it goes on',
  { timeout: 2 * LIMIT_MS },
  async () => {
    const resetAt = Math.ceil(Date.now() / 1000) + 30
    await using stage = await createStage(
      () => (Date.now() < resetAt * 1000 ? limitedUntil(resetAt, 'five_hour') : says('At last.\n[DONE]')),
      SUBSCRIBED,
    )
    const { id } = await stage.add('Work')
    await isLimited(stage, id, resetAt)
    // Nothing else is begun that would only run into the same limit.
    const other = await stage.add('Work, too')
    expect((await stage.task(other.id)).state_reason).toMatch(/^limit: /)
    expect(await stage.end(id, 120_000)).toMatchObject({
      status: 'succeeded',
      attempt: 2,
      result: { text: 'At last.' },
    })
    expect(await stage.end(other.id, 60_000)).toMatchObject({ status: 'succeeded', attempt: 1 })
    for (const task of [id, other.id]) {
      const begun = (await stage.events(task)).findLast((event) => event.hook_event_name === 'SessionStart')
      expect(Date.parse(begun?.at ?? '')).toBeGreaterThanOrEqual(resetAt * 1000)
    }
  },
)

test('a weekly limit, which opens a dialog, is a limit as well', { timeout: LIMIT_MS }, async () => {
  const resetAt = Math.ceil(Date.now() / 1000) + 4 * 86_400
  await using stage = await createStage(() => limitedUntil(resetAt, 'seven_day'), SUBSCRIBED)
  const { id } = await stage.add('Work this week')
  await isLimited(stage, id, resetAt)
  expect((await stage.status()).holds.join()).toMatch(/limit/)
})

test(
  'deadlines: a silent model and a long task are ended, a silent command is not',
  { timeout: 2 * LIMIT_MS },
  async () => {
    const asks = (request: ModelRequest, text: string) =>
      request.userBlocks.some((block) => block.endsWith(text))
    await using stage = await createStage(
      (request) => {
        if (asks(request, 'never answers')) return { kind: 'hang' }
        if (request.turn > 0) return says('[DONE]')
        return runs(asks(request, 'for ever') ? FOR_EVER : 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 2; done')
      },
      { config: '[timeouts]\nno_activity = "10s"\n' },
    )
    const silent = await stage.add('The model never answers', ...BYPASS)
    const long = await stage.add('Run a command for ever', '--timeout', '15s', ...BYPASS)
    const busy = await stage.add('Run a command for a while', ...BYPASS)
    expect(await stage.end(silent.id, 60_000)).toMatchObject({
      status: 'failed',
      agent_state: 'timeout',
      attempt: 1,
      error: 'It showed no activity for 10 s.',
      result: { errors: [{ kind: 'timeout' }] },
    })
    expect(await stage.end(long.id, 60_000)).toMatchObject({
      status: 'failed',
      agent_state: 'timeout',
      error: 'It took longer than 15 s.',
      result: { tools: [{ command: FOR_EVER, ok: false }] },
    })
    const { status, result } = await stage.end(busy.id, 60_000)
    expect(status).toBe('succeeded')
    expect(result?.tools[0]?.duration_ms).toBeGreaterThanOrEqual(20_000)
    for (const { id } of [silent, long, busy]) expect(stage.processesOf(id)).toEqual([])
  },
)

test(
  'an agent that is killed is a crash: nothing of it stays, and it is tried again',
  { timeout: LIMIT_MS },
  async () => {
    let firstTime = true
    await using stage = await createStage(({ turn }) => {
      if (turn > 0 || !firstTime) return says('The second time it went well.\n[DONE]')
      firstTime = false
      return runs(FOR_EVER)
    })
    const { id } = await stage.add('Run it', ...BYPASS)
    await stage.until(id, ({ state_reason }) => /It calls Bash/.test(state_reason ?? ''), 60_000)
    const before = stage.processesOf(id)
    process.kill(claudeAmong(before), 'SIGKILL')
    await stage.until(id, ({ status, attempt }) => status === 'queued' && attempt === 1)
    expect((await stage.chain(id)).at(-1)).toMatchObject({ to: 'exited', cue: 'exited' })
    expect(stage.processesOf(id)).toEqual([])
    expect(await stage.end(id, 60_000)).toMatchObject({ status: 'succeeded', attempt: 2 })
  },
)

function limitedUntil(resetAtS: number, claim: string): ScriptedReply {
  return refuses(429, 'rate_limit_error', "This request would exceed your account's rate limit.", {
    'anthropic-ratelimit-unified-status': 'rejected',
    'anthropic-ratelimit-unified-reset': String(resetAtS),
    'anthropic-ratelimit-unified-representative-claim': claim,
  })
}

/** Waits until the task is back in the queue, and proves that its state and reason name the limit's end. */
async function isLimited(stage: Stage, id: string, resetAtS: number): Promise<void> {
  const back = await stage.until(id, ({ status, attempt }) => status === 'queued' && attempt === 1, 60_000)
  const iso = new Date(resetAtS * 1000).toISOString()
  expect(back).toMatchObject({ agent_state: 'limited', state_reason: expect.stringMatching(/^limit: /) })
  // Never before the reset; a little later, because the time is kept as "so long from now".
  const named = Date.parse(/\d{4}-\S+Z/.exec(back.state_reason ?? '')?.[0] ?? '')
  expect(named).toBeGreaterThanOrEqual(resetAtS * 1000)
  expect(named).toBeLessThan(resetAtS * 1000 + 60_000)
  expect((await stage.chain(id)).at(-1)).toMatchObject({
    to: 'limited',
    reason: `The usage limit is reached until ${iso}.`,
  })
}

/** Claude Code's own process among these; its commands have their own names. */
function claudeAmong(pids: number[]): number {
  const found = pids.find((pid) => {
    try {
      return /\/claude(\.exe)?$/.test(readlinkSync(`/proc/${pid}/exe`))
    } catch {
      return false
    }
  })
  if (found === undefined) {
    throw new Error(
      `no Claude Code among ${pids.map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8')).join()}`,
    )
  }
  return found
}

/** A port that was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
