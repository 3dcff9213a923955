import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ModelRequest, ModelScript, ScriptedReply } from '../../src/demo/model.ts'
import { createStageHere, type Stage } from '../e2e/stage.ts'
import { claudePids, eventually, isAlive } from './fixture.ts'

const bash = (command: string): ScriptedReply => ({
  kind: 'message',
  tools: [{ name: 'Bash', input: { command, description: 'Run it', timeout: 600_000 } }],
})
const done: ScriptedReply = { kind: 'message', text: 'It is done.\n[DONE]' }

/** First turn: a command that never ends. When the task is begun again: done. */
function hangsOnce(command: string): ModelScript {
  const seen = new Set<string>()
  return (request) => {
    const prompt = firstPrompt(request)
    if (seen.has(prompt)) return done
    seen.add(prompt)
    return bash(command)
  }
}

const firstPrompt = ({ userBlocks }: ModelRequest) =>
  userBlocks.find((text) => text.startsWith('Task ')) ?? ''

async function inTool(stage: Stage, prompt: string): Promise<{ id: string; claude: number }> {
  const { id } = await stage.add(prompt, '--allow', 'Bash')
  await eventually('the tool runs', () => existsSync(join(stage.work, 'started')), 40_000)
  return { id, claude: await eventually('Claude Code runs', () => claudePids(stage.processesOf(id))[0]) }
}

// Each of these outlives something: TERM and HUP, its session, its terminal, its parent.
const STUBBORN = [
  `sh -c 'trap "" TERM HUP INT; while :; do sleep 1000; done' &`,
  'setsid sleep 1001 &',
  'nohup sleep 1002 >/dev/null 2>&1 &',
  "(setsid sh -c 'sleep 1003 & sleep 1004' </dev/null >/dev/null 2>&1 &)",
  'sh -c \'trap "" TERM; (setsid nohup sleep 1005 &) ; exec sleep 1006\' &',
  'touch started; sleep 1007',
].join('\n')

test('cancel in mid-tool leaves no process within seconds, whatever the tool started', async () => {
  await using stage = await createStageHere(() => bash(STUBBORN))
  const { id } = await inTool(stage, 'Task stubborn')
  expect(stage.processesOf(id).length).toBeGreaterThanOrEqual(9)
  const from = performance.now()
  expect((await stage.ccm(['cancel', id])).code).toBe(0)
  const task = await stage.end(id)
  expect(task).toMatchObject({ status: 'cancelled', attempt: 1, agent_state: 'exited' })
  expect(stage.processesOf(id)).toEqual([])
  // exit = 5s bounds the polite part.
  expect(performance.now() - from).toBeLessThan(15_000)
  expect(await stage.tmux('list-windows', '-F', '#W')).toBe('ccm')
})

test('a task whose time is up in mid-tool leaves no process either', async () => {
  await using stage = await createStageHere(() => bash(STUBBORN), {
    config: '[timeouts]\ntask = "25s"\nexit = "2s"',
  })
  const { id } = await inTool(stage, 'Task endless')
  expect(stage.processesOf(id).length).toBeGreaterThanOrEqual(9)
  expect(await stage.end(id, 60_000)).toMatchObject({ status: 'failed', attempt: 1, agent_state: 'timeout' })
  expect(stage.processesOf(id)).toEqual([])
  expect(await stage.tmux('list-windows', '-F', '#W')).toBe('ccm')
})

test('an agent that is killed with -9 in mid-tool costs one attempt; its tool does not outlive it', async () => {
  await using stage = await createStageHere(hangsOnce('touch started; setsid sleep 1000'))
  const { id, claude } = await inTool(stage, 'Task killed')
  const first = stage.processesOf(id)
  process.kill(claude, 'SIGKILL')
  const task = await stage.end(id, 60_000)
  expect(task).toMatchObject({ status: 'succeeded', attempt: 2 })
  expect(first.filter(isAlive)).toEqual([])
  expect(stage.processesOf(id)).toEqual([])
  const chain = await stage.chain(id)
  expect(chain.find(({ attempt, to }) => attempt === 1 && to === 'exited')).toMatchObject({
    reason: 'Claude Code ended by itself with status 137.',
  })
})

test('a window that is killed by hand costs one attempt and leaves nothing', async () => {
  await using stage = await createStageHere(hangsOnce('touch started; setsid sleep 1000'))
  const { id } = await inTool(stage, 'Task window')
  const first = stage.processesOf(id)
  await stage.tmux('kill-window', '-t', 'agent-work-1')
  const task = await stage.end(id, 60_000)
  expect(task).toMatchObject({ status: 'succeeded', attempt: 2 })
  expect(first.filter(isAlive)).toEqual([])
  const chain = await stage.chain(id)
  expect(chain.some(({ attempt, to }) => attempt === 1 && (to === 'lost' || to === 'exited'))).toBe(true)
})

test('tmux that died while no agent worked is there again for the next task', async () => {
  await using stage = await createStageHere(() => done)
  await stage.ccm(['start'])
  const server = Number(await stage.tmux('display-message', '-p', '#{pid}'))
  process.kill(server, 'SIGKILL')
  await eventually('tmux is gone', () => !isAlive(server))
  expect((await stage.status()).tmux).toBe('down')
  const { id } = await stage.add('Task after')
  expect(await stage.end(id, 60_000)).toMatchObject({ status: 'succeeded', attempt: 1 })
})
