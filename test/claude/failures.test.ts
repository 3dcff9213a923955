import { readFileSync, readlinkSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import { inTurn, refuses, runs, says } from '../e2e/replies.ts'
import { createStage } from '../e2e/stage.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']
const LIMIT_MS = 120_000
/** Claude Code refuses a bare `sleep 1000`. */
const FOR_EVER = 'tail -f /dev/null'

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
    const tasks = []
    for (const name of names) tasks.push({ name, id: (await stage.add(`You get: ${name}`)).id })
    for (const { name, id } of tasks) {
      const { kind, retried } = REFUSALS[name]
      const task = await stage.until(
        id,
        ({ agent_state, status }) => agent_state === 'error' && status !== 'running',
        90_000,
      )
      expect({ name, status: task.status, attempt: task.attempt }).toEqual({
        name,
        status: retried ? 'queued' : 'failed',
        attempt: 1,
      })
      const failure = (await stage.chain(id)).find(({ to }) => to === 'error')
      expect(failure).toMatchObject({ evidence: kind, cue: 'failed' })
      expect(failure?.reason).toMatch(/API Error|credit|issue with the selected model/i)
      if (retried) {
        await stage.ccm(['cancel', id])
        continue
      }
      expect(task.error).toBe(failure?.reason)
      expect(task.result?.errors.filter(({ message }) => message === task.error)).toMatchObject([{ kind }])
    }
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
  'after a failure the next attempt gets the same task, and can succeed',
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
    expect(task.claude_session_id).not.toBe(first.claude_session_id)
    expect(stage.model.requests.at(-1)?.userBlocks).toContain('Try again')
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
    const resetAt = Math.ceil(Date.now() / 1000) + 40
    const limited = (claim: string, reset: number) =>
      refuses(429, 'rate_limit_error', "This request would exceed your account's rate limit.", {
        'anthropic-ratelimit-unified-status': 'rejected',
        'anthropic-ratelimit-unified-reset': String(reset),
        'anthropic-ratelimit-unified-representative-claim': claim,
      })
    const weekly = resetAt + 4 * 86_400
    await using stage = await createStage(
      (request) => {
        if (request.userBlocks.some((block) => block.includes('this week')))
          return limited('seven_day', weekly)
        return Date.now() < resetAt * 1000 ? limited('five_hour', resetAt) : says('At last.\n[DONE]')
      },
      { apiKey: null, claudeEnv: { CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy-000000000000000000' } },
    )
    const { id } = await stage.add('Work today')
    const { id: late } = await stage.add('Work this week')
    for (const [task, reset] of [
      [id, resetAt],
      [late, weekly],
    ] as const) {
      const back = await stage.until(
        task,
        ({ status, attempt }) => status === 'queued' && attempt === 1,
        60_000,
      )
      const chain = await stage.chain(task)
      expect(chain.at(-1)).toMatchObject({ to: 'limited' })
      const iso = new Date(reset * 1000).toISOString()
      expect(chain.at(-1)?.reason).toContain(iso)
      // To the second: the time is stored as "so long from now".
      expect(back.state_reason).toMatch(/limit/)
      expect(back.state_reason).toContain(iso.slice(0, 18))
      expect(back.agent_state).toBe('limited')
    }
    const task = await stage.end(id, 120_000)
    expect(task).toMatchObject({ status: 'succeeded', attempt: 2, result: { text: 'At last.' } })
    const begun = (await stage.events(id)).filter((event) => event.hook_event_name === 'SessionStart').at(-1)
    expect(Date.parse(begun?.at ?? '')).toBeGreaterThanOrEqual(resetAt * 1000)
    expect((await stage.task(late)).attempt).toBe(1)
  },
)

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
        return runs(asks(request, 'for ever') ? FOR_EVER : 'for i in 1 2 3 4 5 6; do sleep 2; done')
      },
      { config: '[timeouts]\nno_activity = "5s"\n' },
    )
    const silent = await stage.add('The model never answers', ...BYPASS)
    const long = await stage.add('Run a command for ever', '--timeout', '8s', ...BYPASS)
    const busy = await stage.add('Run a command for a while', ...BYPASS)
    expect(await stage.end(silent.id, 60_000)).toMatchObject({
      status: 'failed',
      agent_state: 'timeout',
      attempt: 1,
      error: 'It showed no activity for 5 s.',
      result: { errors: [{ kind: 'deadline' }] },
    })
    expect(await stage.end(long.id, 60_000)).toMatchObject({
      status: 'failed',
      agent_state: 'timeout',
      error: 'It took longer than 8 s.',
      result: { tools: [{ command: FOR_EVER, ok: false }] },
    })
    const { status, result } = await stage.end(busy.id, 60_000)
    expect(status).toBe('succeeded')
    expect(result?.tools[0]?.duration_ms).toBeGreaterThanOrEqual(12_000)
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
