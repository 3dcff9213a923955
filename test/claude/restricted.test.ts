import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createStageHere, type Stage } from '../e2e/stage.ts'
import { calls, runs, says } from '../e2e/replies.ts'

const TEST = { timeout: 400_000 }
const WAIT_MS = 120_000

const turns =
  (...replies: ScriptedReply[]) =>
  ({ turn }: ModelRequest) =>
    replies[turn] ?? says('[DONE]')

/** A task as a webhook adds it: through the API, its source says where it came from. */
async function add(stage: Stage, source: string, more: object = {}): Promise<TaskJson> {
  await stage.ccm(['start'])
  const { port } = JSON.parse(readFileSync(join(stage.home, 'daemon.json'), 'utf8')) as { port: number }
  const token = readFileSync(join(stage.home, 'token'), 'utf8').trim()
  const reply = await fetch(`http://127.0.0.1:${port}/api/tasks`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      prompt: 'go and see @other.md',
      dir: stage.work,
      trust: true,
      in_place: true,
      source,
      ...more,
    }),
  })
  if (reply.status !== 201) throw new Error(await reply.text())
  return (await reply.json()) as TaskJson
}

/** A project that would do much by itself: hooks, rules, a tool server, memory. */
function armed(stage: Stage): { ran: (what: string) => boolean } {
  const marks = join(stage.folder, 'marks')
  for (const dir of [marks, join(stage.work, '.claude/commands')]) mkdirSync(dir, { recursive: true })
  const hook = (name: string) => [{ hooks: [{ type: 'command', command: `touch ${marks}/${name}` }] }]
  // The allow rules in both: which of the two files Claude Code believes is its own business.
  const permissions = { allow: ['Bash(touch:*)', 'Bash(printenv:*)'] }
  const hooks = { SessionStart: hook('start'), UserPromptSubmit: hook('prompt'), PreToolUse: hook('tool') }
  writeFileSync(join(stage.work, '.claude/settings.json'), JSON.stringify({ hooks, permissions }))
  writeFileSync(join(stage.work, '.claude/settings.local.json'), JSON.stringify({ permissions }))
  const server = { command: '/bin/sh', args: ['-c', `touch ${marks}/server; cat`] }
  writeFileSync(join(stage.work, '.mcp.json'), JSON.stringify({ mcpServers: { mine: server } }))
  writeFileSync(join(stage.work, 'CLAUDE.md'), 'MEMORY-OF-THE-PROJECT @other.md')
  writeFileSync(join(stage.work, 'other.md'), 'IMPORTED-MEMORY')
  return { ran: (what) => existsSync(join(marks, what)) }
}

const requestsText = (stage: Stage) =>
  JSON.stringify(stage.model.requests.map(({ system, userBlocks }) => [system, userBlocks]))

const OPTIONS = {
  claudeEnv: { DEPLOY_TOKEN: 'deploy-token-of-the-user', FOO: 'bar' },
  config: '[outside]\npermission_mode = "dontAsk"\nallowed_tools = ["Bash(printenv)"]\n',
}

test(
  'nothing of the project itself counts in a restricted task: no hook, no allow rule, no server, no memory',
  TEST,
  async () => {
    await using stage = await createStageHere(
      turns(runs('touch one'), runs('printenv'), calls('Read', { file_path: 'parser.ts' })),
      OPTIONS,
    )
    const project = armed(stage)
    const { id } = await add(stage, 'github', {
      permission_mode: 'bypassPermissions',
      allowed_tools: ['Bash(touch:*)'],
    })
    const task = await stage.end(id, WAIT_MS)
    expect(task.status).toBe('succeeded')
    expect(['start', 'prompt', 'tool', 'server'].filter(project.ran)).toEqual([])
    expect(existsSync(join(stage.work, 'one'))).toBe(false)
    expect(requestsText(stage)).not.toMatch(/MEMORY-OF-THE-PROJECT|IMPORTED-MEMORY/)
    const printed = stage.model.requests.flatMap(({ toolResults }) => toolResults)
    expect(printed[0]).toMatchObject({ isError: true })
    expect(printed[1]?.text).toContain('CCM_TASK_ID')
    expect(printed[1]?.text).not.toMatch(/deploy-token-of-the-user|FOO=bar|SSH_AUTH_SOCK|sk-ant/)
  },
)

test('the model’s key reaches Claude Code, and nothing that it starts can find it', TEST, async () => {
  const look = [
    'printenv',
    'for pid in $PPID $(ps -o ppid= -p $PPID); do tr "\\0" "\\n" </proc/$pid/environ; timeout 1 cat /proc/$pid/fd/3; done',
    'cat ../home/attempts/*/*/* ../home/attempts/*/* 2>/dev/null',
    'echo looked',
  ]
  await using stage = await createStageHere(turns(runs(look.join('; '))), OPTIONS)
  const { id } = await add(stage, 'cli', { permission_mode: 'bypassPermissions' })
  expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
  expect(stage.model.requests.map(({ headers }) => headers['x-api-key'])).toContainEqual(
    expect.stringMatching(/^sk-ant-dummy/),
  )
  const printed = stage.model.requests.flatMap(({ toolResults }) => toolResults)
  expect(printed[0]?.text).toContain('CCM_TASK_ID')
  expect(printed[0]?.text).toContain('looked')
  expect(printed[0]?.text).not.toContain('sk-ant')
})

test('the same task from a person of this machine has all of it', TEST, async () => {
  await using stage = await createStageHere(
    // Servers come up beside the first turn.
    turns(runs('touch one'), {
      kind: 'message',
      tools: [{ name: 'Bash', input: { command: 'printenv', description: 'A step' } }],
      delayMs: 3000,
    }),
    OPTIONS,
  )
  const project = armed(stage)
  const { id } = await add(stage, 'cli')
  const task = await stage.end(id, WAIT_MS)
  expect(task.status).toBe('succeeded')
  expect(['start', 'prompt', 'tool', 'server'].filter(project.ran)).toEqual([
    'start',
    'prompt',
    'tool',
    'server',
  ])
  expect(existsSync(join(stage.work, 'one'))).toBe(true)
  expect(requestsText(stage)).toContain('MEMORY-OF-THE-PROJECT')
  expect(requestsText(stage)).toContain('IMPORTED-MEMORY')
  const printed = stage.model.requests.flatMap(({ toolResults }) => toolResults)
  expect(printed[1]?.text).toMatch(/DEPLOY_TOKEN=deploy-token-of-the-user/)
})
