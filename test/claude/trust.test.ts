import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execaSync } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import type { ProjectJson } from '../../src/protocol/project.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createStageHere, type Stage } from '../e2e/stage.ts'
import { serveFakeAnthropic } from './fake-anthropic.ts'

const WAIT_MS = 120_000
const TEST = { timeout: 400_000 }
const DONE = { kind: 'message', text: '[DONE]' } as const

/** What a cloned repository may bring: a hook and a tool server, each leaving a trace when it runs. */
function plantProjectCode(stage: Stage, dir: string): string[] {
  const traces = [join(stage.folder, 'hook-ran'), join(stage.folder, 'server-ran')]
  mkdirSync(join(dir, '.claude'), { recursive: true })
  const hooks = { SessionStart: [{ hooks: [{ type: 'command', command: `touch ${traces[0]}` }] }] }
  writeFileSync(join(dir, '.claude/settings.json'), JSON.stringify({ hooks }))
  const mine = { command: 'sh', args: ['-c', `touch ${traces[1]}; cat`] }
  writeFileSync(join(dir, '.mcp.json'), JSON.stringify({ mcpServers: { mine } }))
  return traces
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-e2e-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

/** A login like a person's own, without any key in the environment. */
function logIn(stage: Stage): string {
  const home = stage.env['HOME'] ?? ''
  const file = join(home, '.claude.json')
  writeFileSync(file, JSON.stringify({ hasCompletedOnboarding: true, kept: 'mine' }))
  mkdirSync(join(home, '.claude'))
  const settings = { apiKeyHelper: 'echo sk-ant-dummy-of-the-user' }
  writeFileSync(join(home, '.claude/settings.json'), JSON.stringify(settings))
  return file
}

test(
  'in an untrusted directory nothing of the project runs until a person trusts it; then its hooks and servers do, without a dialog',
  TEST,
  async () => {
    await using stage = await createStageHere(() => DONE)
    const traces = plantProjectCode(stage, stage.work)
    const waits = await stage.ccm(['run', '--no-input', '--json', 'go'], { timeoutMs: WAIT_MS })
    expect(waits.code).toBe(5)
    const { id, ...task } = JSON.parse(waits.stdout) as TaskJson
    expect(task).toMatchObject({ status: 'queued', attempt: 0, agent_state: null })
    expect(task.state_reason).toMatch(/^trust: .*ccm projects trust work$/)
    expect(waits.stderr).toContain('ccm projects trust work')
    // Another task of the same machine runs meanwhile: it is the trust, and not the daemon, that holds this one.
    const other = join(stage.folder, 'other')
    mkdirSync(other)
    expect((await stage.end((await stage.add('other', '--dir', other)).id, WAIT_MS)).status).toBe('succeeded')
    expect(await stage.task(id)).toMatchObject({ status: 'queued', attempt: 0 })
    expect(traces.filter((trace) => existsSync(trace))).toEqual([])
    expect(stage.model.requests.length).toBe(1)
    const projects = await stage.json<ProjectJson[]>(['projects'])
    expect(Object.fromEntries(projects.map(({ name, trusted }) => [name, trusted]))).toEqual({
      work: false,
      other: true,
    })

    const trusted = await stage.ccm(['projects', 'trust', 'work'])
    expect(trusted).toMatchObject({ code: 0, stdout: expect.stringContaining(stage.work) })
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect(traces.filter((trace) => existsSync(trace))).toEqual(traces)
    expect((await stage.chain(id)).map(({ to }) => to)).not.toContain('waiting')
    expect((await stage.ccm(['projects', 'trust', 'nothing'])).code).not.toBe(0)
  },
)

test(
  "with the user's own login Claude Code's trust dialog is answered by rule, and a dialog nobody knows parks the agent with its screen",
  TEST,
  async () => {
    await using stage = await createStageHere(() => DONE, { apiKey: null })
    const file = logIn(stage)
    const traces = plantProjectCode(stage, stage.work)
    const { id } = await stage.add('go')
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect(stage.model.requests[0]?.headers).toMatchObject({ 'x-api-key': 'sk-ant-dummy-of-the-user' })
    expect(traces.filter((trace) => existsSync(trace))).toEqual(traces)
    expect((await stage.chain(id)).map(({ to }) => to)).not.toContain('waiting')
    // Only an answer to the dialog makes Claude Code write this.
    const written = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    expect(written).toMatchObject({
      kept: 'mine',
      projects: { [stage.work]: { hasTrustDialogAccepted: true } },
    })
    expect(existsSync(join(stage.home, 'claude'))).toBe(false)

    writeFileSync(join(stage.folder, 'outside.md'), 'Be kind.')
    writeFileSync(join(stage.work, 'CLAUDE.md'), 'See @../outside.md\n')
    const waits = await stage.ccm(['run', '--no-input', 'again'], { timeoutMs: WAIT_MS })
    expect(waits.code).toBe(5)
    expect(waits.stdout).toContain('Allow external CLAUDE.md file imports?')
    expect(waits.stdout).toContain('ccm attach')
    const [parked] = await stage.json<TaskJson[]>(['tasks', '--status', 'running'])
    expect(parked).toMatchObject({ agent_state: 'waiting', waiting_for: { kind: 'dialog', tool: null } })
    expect(parked?.waiting_for?.options).toEqual([
      'No, disable external imports',
      'Yes, allow external imports',
    ])
    // A person answers it in the window, and the task goes on.
    await stage.tmux('send-keys', '-t', `ccm:${parked?.window ?? ''}`, 'Enter')
    expect((await stage.end(parked?.id ?? '', WAIT_MS)).status).toBe('succeeded')
  },
)

test(
  'a CLAUDE.md that imports from outside the project opens no dialog in a config folder of ours',
  TEST,
  async () => {
    await using stage = await createStageHere(() => DONE)
    writeFileSync(join(stage.folder, 'outside.md'), 'Be kind.')
    writeFileSync(join(stage.work, 'CLAUDE.md'), 'See @../outside.md\n')
    const { id } = await stage.add('go')
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect((await stage.chain(id)).map(({ to }) => to)).not.toContain('waiting')
  },
)

test(
  'who never logged in sees the first dialog of Claude Code in the waiting task',
  TEST,
  async (context) => {
    if (execaSync('openssl', ['version'], { reject: false }).exitCode !== 0) {
      return context.skip('openssl is missing: the connection check of a first start cannot be answered')
    }
    const folder = temporaryFolder()
    await using anthropic = await serveFakeAnthropic(join(folder, 'tls'))
    await using stage = await createStageHere(() => DONE, { apiKey: null, claudeEnv: anthropic.env })
    const waits = await stage.ccm(['run', '--no-input', '--json', '--trust', 'go'], { timeoutMs: WAIT_MS })
    expect(waits.code).toBe(5)
    const { id, ...task } = JSON.parse(waits.stdout) as TaskJson
    expect(task).toMatchObject({ status: 'running', agent_state: 'waiting', waiting_for: { kind: 'dialog' } })
    expect(task.waiting_for?.detail).toContain('Choose the text style')
    expect(waits.stderr).toContain('Choose the text style')
    expect(waits.stderr).toContain(`ccm attach ${id}`)
    for (const args of [
      ['send', id, 'dark'],
      ['approve', id],
      ['deny', id],
    ]) {
      expect((await stage.ccm(args, { timeoutMs: WAIT_MS })).code).not.toBe(0)
    }
    expect((await stage.task(id)).waiting_for?.detail).toContain('Choose the text style')
    expect(await stage.ccm(['cancel', id])).toMatchObject({ code: 0 })
    expect((await stage.end(id, WAIT_MS)).status).toBe('cancelled')
    expect(stage.processesOf(id)).toEqual([])
    expect(stage.model.requests).toEqual([])
    expect(anthropic.hosts).toContain('api.anthropic.com:443')
  },
)

test("ccm itself writes nothing into the user's home, whatever becomes of the agent", TEST, async () => {
  const folder = temporaryFolder()
  const claude = join(folder, 'claude')
  writeFileSync(claude, '#!/bin/sh\n[ "$1" = --version ] && echo "2.1.328 (Claude Code)"\nexit 0\n', {
    mode: 0o755,
  })
  await using stage = await createStageHere(() => DONE, { apiKey: null, claude })
  const file = logIn(stage)
  const before = { bytes: readFileSync(file), mtime: statSync(file).mtimeMs }
  const { id } = await stage.add('go')
  await stage.until(id, (task) => task.agent_state === 'exited', WAIT_MS)
  await stage.ccm(['cancel', id])
  await stage.ccm(['stop'])
  expect({ bytes: readFileSync(file), mtime: statSync(file).mtimeMs }).toEqual(before)
  const own = readdirSync(stage.env['HOME'] ?? '', { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.startsWith('.claude'),
  )
  expect(new Set(own)).toEqual(new Set(['.claude', '.claude.json', '.claude/settings.json']))
})
