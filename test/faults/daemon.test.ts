import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import { createStageHere, type Stage } from '../e2e/stage.ts'
import { budgetOf, claudePids, eventually, fakeClaude, isAlive } from './fixture.ts'

const bash = (command: string): ScriptedReply => ({
  kind: 'message',
  tools: [{ name: 'Bash', input: { command, description: 'Run it', timeout: 600_000 } }],
})
const done: ScriptedReply = { kind: 'message', text: 'It is done.\n[DONE]' }

/** One command that writes its line into the ledger of the work folder, then done. */
const ledgerScript = (request: ModelRequest): ScriptedReply => {
  if (request.turn > 0) return done
  const name = /Task (\w+)/.exec(request.userBlocks.join('\n'))?.[1] ?? 'unknown'
  return bash(`echo ${name} >> ledger; while [ -e hold ]; do sleep 0.05; done; sleep 0.3`)
}

const ledgerOf = (stage: Stage, name: string) =>
  existsSync(join(stage.work, 'ledger'))
    ? readFileSync(join(stage.work, 'ledger'), 'utf8')
        .split('\n')
        .filter((line) => line === name).length
    : 0

const NOT_BEGUN = /its agent was never started|claimed but not begun/

const hold = (stage: Stage) => writeFileSync(join(stage.work, 'hold'), '')
const letGo = (stage: Stage) => rmSync(join(stage.work, 'hold'), { force: true })

async function atWork(stage: Stage, name: string): Promise<{ id: string; claude: number }> {
  hold(stage)
  const { id } = await stage.add(`Task ${name}`, '--allow', 'Bash')
  await eventually('the agent works', () => ledgerOf(stage, name) === 1, 40_000)
  return { id, claude: await eventually('Claude Code runs', () => claudePids(stage.processesOf(id))[0]) }
}

/** Adds a task without a process of its own, so that the daemon can be killed within milliseconds. */
async function addAtOnce(stage: Stage, prompt: string): Promise<string> {
  const { port } = JSON.parse(readFileSync(join(stage.home, 'daemon.json'), 'utf8')) as { port: number }
  const answer = await fetch(`http://127.0.0.1:${port}/api/tasks`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${readFileSync(join(stage.home, 'token'), 'utf8').trim()}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ prompt, dir: stage.work, in_place: true, trust: true, allowed_tools: ['Bash'] }),
  })
  const { id, task } = (await answer.json()) as { id?: string; task?: { id: string } }
  const added = task?.id ?? id
  if (added === undefined) throw new Error(`not added: ${answer.status}`)
  return added
}

// A task takes about 50 ms to its window, 2 s to its last request, and 1 s from there to its report.
test.each([
  { phase: 'before the window and while it opens', windowMs: 150 },
  { phase: 'while the agent starts and works', windowMs: 2500 },
  { phase: 'after its last word and before the report', windowMs: 1500 },
])('a daemon killed $phase is followed by one that ends the task once', async ({ phase, windowMs }) => {
  const rounds = Number(process.env['CCM_CRASH_ROUNDS'] ?? 6)
  await using stage = await createStageHere(ledgerScript)
  await stage.ccm(['start'])
  const seen: { before: unknown; after: unknown; attempt: number; found: string; faults: string[] }[] = []
  for (let round = 0; round < rounds; round++) {
    const name = `round${round}`
    const requests = stage.model.requests.length
    const id = await addAtOnce(stage, `Task ${name}`)
    if (phase.startsWith('after')) {
      await eventually('the last request', () => stage.model.requests.length >= requests + 2, 40_000)
    }
    // Evenly over the time, with some chance in each step.
    await sleep(((round + Math.random()) / rounds) * windowMs)
    await stage.crash()
    const [before] = claudePids(stage.processesOf(id))
    await stage.ccm(['start'])
    const found = (await stage.status()).found_at_start.join('\n')
    const [after] = claudePids(stage.processesOf(id))
    const task = await stage.end(id, 60_000)
    const faults = [
      task.status !== 'succeeded' && `it is ${task.status}: ${task.error}`,
      // A second attempt only where the first came to no agent; in each phase a kill may come that early.
      task.attempt > (before === undefined && NOT_BEGUN.test(found) ? 2 : 1) && 'too many attempts',
      after !== undefined && before !== undefined && after !== before && 'another agent took over',
      after !== undefined && before !== undefined && !found.includes(id) && 'the agent found was not named',
      ledgerOf(stage, name) !== 1 && `its command ran ${ledgerOf(stage, name)} times`,
      budgetOf(stage, id).failures + budgetOf(stage, id).lost_leases > 0 && 'it cost budget',
      stage.processesOf(id).length > 0 && 'processes are left',
      existsSync(join(stage.home, 'attempts', `${id}.1`, 'start.sh')) && 'its start script is left',
    ].filter((fault) => fault !== false)
    seen.push({ before, after, attempt: task.attempt, found, faults })
  }
  console.log(`killed ${phase}:`, seen)
  expect(seen.filter(({ faults }) => faults.length > 0)).toEqual([])
  expect(await stage.tmux('list-windows', '-F', '#W')).toBe('ccm')
})

test('the next start in the foreground says on stderr what it found; the same process goes on', async () => {
  await using stage = await createStageHere(ledgerScript)
  const { id, claude } = await atWork(stage, 'found')
  await stage.crash()
  const daemon = stage.start(['daemon'])
  await eventually('the daemon answers', async () => (await stage.ccm(['status'])).code === 0)
  const sentence = `Task ${id}: its agent is still at work in agent-work-1; taken back.`
  expect((await stage.status()).found_at_start).toEqual([sentence])
  expect(claudePids(stage.processesOf(id))).toEqual([claude])
  letGo(stage)
  expect(await stage.end(id)).toMatchObject({ status: 'succeeded', attempt: 1 })
  expect(stage.model.requests.filter(({ turn }) => turn === 0)).toHaveLength(1)
  daemon.kill('SIGTERM')
  const { code, stderr } = await daemon.ended
  expect(code).toBe(0)
  expect(stderr).toContain(sentence)
})

test('what an agent said while no daemon ran counts, also when its window is gone at the start', async () => {
  await using stage = await createStageHere(ledgerScript)
  const { id } = await atWork(stage, 'spooled')
  await stage.crash()
  letGo(stage)
  const spool = join(stage.home, 'attempts', `${id}.1`, 'spool')
  await eventually('the Stop hook was spooled', () =>
    readdirSync(spool).some(
      (name) => name.endsWith('.json') && readFileSync(join(spool, name), 'utf8').includes('"Stop"'),
    ),
  )
  await stage.tmux('kill-server')
  await eventually('its agent is gone', () => stage.processesOf(id).length === 0)
  await stage.ccm(['start'])
  expect((await stage.status()).found_at_start).toEqual([
    'Events were left in 1 spool; they are stored now.',
    `Task ${id}: its agent is gone; what it left decides.`,
  ])
  const task = await stage.end(id)
  expect(task).toMatchObject({ status: 'succeeded', attempt: 1, result: { text: 'It is done.' } })
  expect(ledgerOf(stage, 'spooled')).toBe(1)
})

test('a daemon killed while its agent waits for a person: it still waits, and an answer by key goes on', async () => {
  await using stage = await createStageHere(({ turn }) => (turn === 0 ? bash('touch answered') : done))
  const { id } = await stage.add('Task waiting', '--permission-mode', 'manual')
  await stage.until(id, ({ agent_state }) => agent_state === 'waiting')
  const [claude] = claudePids(stage.processesOf(id))
  await stage.crash()
  await stage.ccm(['start'])
  const task = await stage.until(id, ({ agent_state }) => agent_state === 'waiting')
  expect(task.waiting_for).toMatchObject({ kind: 'permission', tool: 'Bash', detail: 'touch answered' })
  expect(claudePids(stage.processesOf(id))).toEqual([claude])
  expect((await stage.ccm(['approve', id])).code).toBe(0)
  expect(await stage.end(id)).toMatchObject({ status: 'succeeded', attempt: 1 })
  expect(existsSync(join(stage.work, 'answered'))).toBe(true)
})

test('a cancel that the daemon stored and did not live to carry out is carried out at the next start', async () => {
  await using stage = await createStageHere(ledgerScript)
  const { id, claude } = await atWork(stage, 'cancelled')
  await stage.crash()
  // No signal reached the agent yet: the daemon died between the two.
  const db = new Sqlite(join(stage.home, 'ccm.db'))
  db.prepare('UPDATE tasks SET cancel_requested = 1 WHERE id = :id').run({ id })
  db.close()
  expect(isAlive(claude)).toBe(true)
  await stage.ccm(['start'])
  // Before the first heartbeat, which is due after 30 s.
  expect(await stage.end(id, 20_000)).toMatchObject({ status: 'cancelled', attempt: 1 })
  expect(stage.processesOf(id)).toEqual([])
})

test('SIGTERM ends the daemon in time and leaves its agents, which the next one takes back', async () => {
  await using stage = await createStageHere(ledgerScript)
  const { id, claude } = await atWork(stage, 'kept')
  const { pid } = await stage.status()
  const from = performance.now()
  process.kill(pid, 'SIGTERM')
  await eventually('the daemon ended', () => !isAlive(pid))
  expect(performance.now() - from).toBeLessThan(10_000)
  expect(isAlive(claude)).toBe(true)
  expect(existsSync(join(stage.home, 'daemon.json'))).toBe(false)
  await stage.ccm(['start'])
  expect((await stage.status()).found_at_start.join()).toContain('still at work')
  // The same by command.
  expect((await stage.ccm(['stop', '--keep-agents'])).stdout).toContain('has stopped')
  expect(isAlive(claude)).toBe(true)
  letGo(stage)
  await stage.ccm(['start'])
  expect(await stage.end(id)).toMatchObject({ status: 'succeeded', attempt: 1 })
  expect(ledgerOf(stage, 'kept')).toBe(1)
})

test('ccm stop ends agents and tmux, gives the task back at no cost, and nothing of it stays', async () => {
  await using stage = await createStageHere(ledgerScript)
  const { id, claude } = await atWork(stage, 'stopped')
  const server = Number(await stage.tmux('display-message', '-p', '#{pid}'))
  expect((await stage.ccm(['stop'])).code).toBe(0)
  expect(isAlive(claude)).toBe(false)
  expect(isAlive(server)).toBe(false)
  expect(stage.processesOf(id)).toEqual([])
  expect(budgetOf(stage, id)).toEqual({ failures: 0, lost_leases: 0 })
  letGo(stage)
  await stage.ccm(['start'])
  expect((await stage.status()).found_at_start).toEqual([])
  expect(await stage.end(id)).toMatchObject({ status: 'succeeded', attempt: 2 })
})

test('a second signal ends a daemon at once that is still ending', async () => {
  // Deaf to every polite signal: ccm stop needs its whole limit for this one.
  const deaf = fakeClaude(`trap '' TERM HUP INT`, 'while :; do sleep 0.2; done')
  await using stage = await createStageHere(() => done, { claude: deaf, config: '[timeouts]\nexit = "60s"' })
  const daemon = stage.start(['daemon'])
  await eventually('the daemon answers', async () => (await stage.ccm(['status'])).code === 0)
  const { id } = await stage.add('Task deaf')
  await eventually('the agent runs', () => stage.processesOf(id).length > 0)
  const stopping = stage.start(['stop'])
  await eventually('it is ending', async () => (await stage.chain(id)).some(({ to }) => to === 'exited'))
  daemon.kill('SIGTERM')
  await sleep(100)
  daemon.kill('SIGTERM')
  // As keep-daemon.sh reads it: on purpose, so nobody starts it again.
  expect((await daemon.ended).code).toBe(143)
  await stopping.ended
  await stage.ccm(['start'])
  expect((await stage.status()).found_at_start.join()).toContain(id)
  for (const pid of stage.processesOf(id)) process.kill(pid, 'SIGKILL')
})
