import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readTranscriptEnd } from '../../src/agent/transcript-end.ts'
import type { IncidentJson } from '../../src/protocol/incident.ts'
import type { ModelRequest, ModelScript, ScriptedReply } from '../../src/demo/model.ts'
import { refuses, runs, says } from '../e2e/replies.ts'
import { createStage, type Stage } from '../e2e/stage.ts'
import { budgetOf, claudePids, eventually, isAlive } from './fixture.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']
/** It outlives its session and its terminal. */
const FOR_EVER = 'touch started; setsid nohup sleep 1000'
/** Without git an agent works in the directory itself. */
const IN_PLACE = { git: false }
const DONE = says('It is done.\n[DONE]')

const wasInterrupted = ({ userBlocks }: ModelRequest) =>
  userBlocks.some((block) => block.startsWith('You were interrupted'))

/** A command that never ends, until the agent is told that it was interrupted. */
const untilInterrupted: ModelScript = (request) => (wasInterrupted(request) ? DONE : runs(FOR_EVER))

async function inTool(stage: Stage, prompt: string): Promise<{ id: string; claude: number }> {
  const { id } = await stage.add(prompt, ...BYPASS)
  await eventually(
    'the tool runs',
    async () => existsSync(join((await stage.task(id)).dir ?? '', 'started')),
    40_000,
  )
  return { id, claude: await eventually('Claude Code runs', () => claudePids(stage.processesOf(id))[0]) }
}

const incidentsOf = async (stage: Stage) => stage.json<IncidentJson[]>(['incidents'])

test('an agent killed with -9 goes on in its session: same history, a short prompt, one cost', async () => {
  await using stage = await createStage(untilInterrupted)
  const { id, claude } = await inTool(stage, 'Task go on')
  const { claude_session_id: session } = await stage.task(id)
  process.kill(claude, 'SIGKILL')
  const task = await stage.end(id, 60_000)
  expect(task).toMatchObject({
    status: 'succeeded',
    attempt: 2,
    claude_session_id: session,
    result: { text: 'It is done.', attempts: 2, claude_session_id: session },
  })
  const last = stage.model.requests.at(-1)
  expect(last?.userBlocks.filter((block) => block.startsWith('Task go on'))).toHaveLength(1)
  expect(last?.userBlocks.find((block) => block.startsWith('You were interrupted'))).toContain(
    'Claude Code ended by itself with status 137',
  )
  // Two answers, each counted once although the second attempt reads both.
  expect(Object.values(task.result?.usage ?? {})).toMatchObject([{ input_tokens: 2400 }])
  // What tells a prompt of this attempt from older ones, where its event is lost.
  const began = (await stage.chain(id)).find(({ attempt }) => attempt === 2)
  const configDir = join(stage.home, 'claude', id)
  const place = { path: null, configDir, sessionId: session ?? '', earlier: [] }
  const { prompt, promptAt } = await readTranscriptEnd(place, null)
  expect(prompt).toContain('You were interrupted')
  expect(promptAt).toBeGreaterThan(Date.parse(began?.at ?? ''))
  const sources = (await stage.events(id)).filter((event) => event.hook_event_name === 'SessionStart')
  expect(sources.map((event) => [event.attempt, event['source']])).toEqual([
    [1, 'startup'],
    [2, 'resume'],
  ])
  const [incident] = await incidentsOf(stage)
  expect(incident).toMatchObject({
    kind: 'agent_failed',
    task_id: id,
    attempt: 1,
    action: 'Its next attempt was started.',
    alert: false,
  })
  expect(incident?.duration_ms).toBeGreaterThan(0)
})

test('an error that comes back right after the resume is the history: the next attempt starts without it', async () => {
  await using stage = await createStage((request): ScriptedReply => {
    if (wasInterrupted(request))
      return refuses(400, 'invalid_request_error', 'messages.3: tool_use ids must be unique')
    return existsSync(join(stage.work, 'started')) ? DONE : runs(FOR_EVER)
  }, IN_PLACE)
  const { id, claude } = await inTool(stage, 'Task poisoned')
  process.kill(claude, 'SIGKILL')
  const task = await stage.end(id, 90_000)
  expect(task).toMatchObject({ status: 'succeeded', attempt: 3 })
  const sessions = (await stage.events(id))
    .filter((event) => event.hook_event_name === 'SessionStart')
    .map((event) => [event.attempt, event['source']])
  expect(sessions).toEqual([
    [1, 'startup'],
    [2, 'resume'],
    [3, 'startup'],
  ])
  // The two answers were given in two sessions.
  expect(Object.values(task.result?.usage ?? {})).toMatchObject([{ input_tokens: 2400 }])
})

test('a stop and a start go on in the session', async () => {
  await using stage = await createStage(untilInterrupted)
  const { id } = await inTool(stage, 'Task stopped')
  expect((await stage.ccm(['stop'])).code).toBe(0)
  await stage.ccm(['start'])
  expect(await stage.end(id, 60_000)).toMatchObject({ status: 'succeeded', attempt: 2 })
  expect(budgetOf(stage, id)).toEqual({ failures: 0, lost_leases: 0 })
})

test('tmux killed with -9 under three agents: each goes on once in its session, at no cost, within seconds', async () => {
  await using stage = await createStage(untilInterrupted)
  const ids: string[] = []
  for (const name of ['one', 'two', 'three']) ids.push((await stage.add(`Task ${name}`, ...BYPASS)).id)
  await eventually('all of them run their tool', () => stage.model.requests.length >= 3, 60_000)
  for (const id of ids) await eventually('a tool runs', () => stage.processesOf(id).length >= 3, 40_000)
  const first = ids.flatMap((id) => stage.processesOf(id))
  const server = Number(await stage.tmux('display-message', '-p', '#{pid}'))
  process.kill(server, 'SIGKILL')
  const from = performance.now()
  await eventually(
    'the end of tmux is noticed',
    async () => (await incidentsOf(stage)).some(({ kind }) => kind === 'tmux_died'),
    10_000,
  )
  expect(performance.now() - from).toBeLessThan(5000)
  for (const id of ids) {
    expect(await stage.end(id, 60_000)).toMatchObject({ status: 'succeeded', attempt: 2 })
    expect(budgetOf(stage, id)).toEqual({ failures: 0, lost_leases: 0 })
    expect(stage.processesOf(id)).toEqual([])
  }
  const lost = (await stage.chain(ids[0] ?? '')).filter(({ to }) => to === 'lost')
  expect(lost).toMatchObject([{ attempt: 1, reason: 'The tmux server ended, and the agent with it.' }])
  expect(first.filter(isAlive)).toEqual([])
  expect(Number(await stage.tmux('display-message', '-p', '#{pid}'))).not.toBe(server)
  expect(stage.model.requests.filter(wasInterrupted)).toHaveLength(3)
})
