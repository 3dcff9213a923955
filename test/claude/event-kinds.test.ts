import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { RECORDED } from '../../src/agent/settings.ts'
import type { HookEventJson } from '../../src/protocol/hook-event.ts'
import { calls, refuses, runs, says } from '../e2e/replies.ts'
import { createStage, type Stage } from '../e2e/stage.ts'
import { eventually } from '../faults/fixture.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']

/**
 * Which kinds of events come of what, one after another, and where there are several of a kind, which. What comes with
 * every call and turn is in events.test.ts. A step without an act is the model's own; before an act the agent waits.
 */
const STEPS: { what: string; act?: (person: Person) => unknown; kinds: string[] }[] = [
  { what: 'its start', kinds: ['session_start startup', 'instructions_loaded'] },
  { what: 'cd', kinds: ['cwd_changed'] },
  { what: 'TaskCreate', kinds: ['task_created'] },
  { what: 'TaskUpdate', kinds: ['task_completed'] },
  { what: 'a teammate', kinds: ['subagent_start mate', 'subagent_stop mate', 'teammate_idle mate'] },
  { what: 'a tool server asks', kinds: ['elicitation_asked', 'notification elicitation_dialog'] },
  {
    what: 'nobody answers it',
    act: ({ presses }) => presses('Escape'),
    kinds: ['elicitation_answered', 'notification elicitation_response'],
  },
  { what: 'the agent asks', kinds: ['permission_asked', 'notification permission_prompt'] },
  {
    what: 'the answer',
    act: async ({ presses, sees }) => {
      await presses('1')
      await sees('Which one do you want?')
    },
    kinds: [],
  },
  { what: 'a watched file', act: ({ writes }) => writes('sub/watched.txt', ''), kinds: ['file_changed'] },
  {
    what: 'the settings',
    act: ({ writes }) => writes('.claude/settings.local.json', '{}'),
    kinds: ['config_changed local_settings'],
  },
  { what: 'a command of the project', act: ({ types }) => types('/hey'), kinds: ['prompt_expanded'] },
  {
    what: 'a compaction',
    act: ({ types }) => types('/compact'),
    kinds: [
      'compaction_start manual',
      'subagent_stop',
      'session_start compact',
      'compaction_complete manual',
    ],
  },
  {
    what: 'another model',
    act: ({ types }) => types('/model sonnet'),
    kinds: ['model_switch_start command', 'model_switch_complete command'],
  },
  {
    what: 'another folder',
    act: async ({ types, presses, sees, work }) => {
      await types(`/add-dir ${join(work, '../lib')}`)
      await sees('❯ No, leave it out')
      await presses('Down')
      await sees('❯ Yes, add it')
      await presses('Enter')
      await sees('Yes, for this session')
      await presses('1')
    },
    kinds: ['directory_added slash_command'],
  },
  {
    what: 'its end by a person, and a second attempt',
    act: ({ types }) => types('/exit'),
    kinds: ['session_complete prompt_input_exit', 'session_start resume', 'instructions_loaded'],
  },
  {
    what: 'a cleared session',
    act: ({ types }) => types('/clear'),
    kinds: ['session_complete clear', 'session_start clear'],
  },
  {
    what: 'an error of the API, and its end by ccm',
    act: ({ types }) => types('Fail now'),
    kinds: ['instructions_loaded', 'session_error unknown', 'session_complete other'],
  },
]

/**
 * Recorded, and not provoked here. `Setup` comes with --init-only, which ccm never passes. `PermissionDenied` comes where
 * the server's own check refuses a call in the mode `auto`: with an API of ours in its place the client says in a dialog
 * that there is no such check, and asks. (`WorktreeCreate`, `WorktreeRemove`, `MessageDisplay`: see docs/events.md.)
 */
const NOT_PROVOKED = ['Setup', 'PermissionDenied']

/** What a person does at an agent's window and in its folder. */
type Person = ReturnType<typeof createPerson>

function createPerson(stage: Stage, window: string | null) {
  const pane = ['-t', `ccm:${window ?? ''}`]
  const presses = (...keys: string[]) => stage.tmux('send-keys', ...pane, ...keys)
  return {
    work: stage.work,
    writes: (name: string, text: string) => writeFileSync(join(stage.work, name), text),
    presses,
    /** The menu of commands needs a moment before Enter. */
    types: async (text: string) => {
      await presses('-l', text)
      await sleep(800)
      await presses('Enter')
    },
    /** Waits for what the window shows. */
    sees: async (text: string) => {
      await expect.poll(() => stage.tmux('capture-pane', '-p', ...pane), { timeout: 60_000 }).toContain(text)
    },
  }
}

/** An event's kind, and behind it what tells apart those of one kind. */
function kindOf(event: HookEventJson): string {
  const which = ['reason', 'source', 'trigger', 'notification_type', 'error', 'agent_type']
    .map((name) => (event as Record<string, unknown>)[name])
    .find((value): value is string => typeof value === 'string' && value !== '')
  return which === undefined ? event.kind : `${event.kind} ${which}`
}

/** True where each of `wanted` is in `found`, as often as it is wanted. */
function covers(found: readonly string[], wanted: readonly string[]): boolean {
  const left = [...found]
  return wanted.every((kind) => {
    const at = left.indexOf(kind)
    if (at >= 0) left.splice(at, 1)
    return at >= 0
  })
}

test(
  'each other event that can be provoked is recorded once, with its kind',
  { timeout: 400_000 },
  async () => {
    const questions = [
      {
        question: 'Which of them?',
        header: 'Which',
        multiSelect: false,
        options: ['First', 'Second'].map((label) => ({ label, description: label })),
      },
    ]
    const replies = [
      runs('mkdir sub && cd sub'),
      runs('exit 3'),
      calls('TaskCreate', { subject: 'a', description: 'b' }),
      calls('TaskUpdate', { taskId: '1', status: 'completed' }),
      calls('Agent', { description: 's', prompt: 'SUB go', subagent_type: 'general-purpose', name: 'mate' }),
      calls('mcp__asking__ask', {}),
      calls('AskUserQuestion', { questions }),
    ]
    await using stage = await createStage(
      ({ userBlocks, userText }) => {
        const has = (text: string) => userBlocks.some((block) => block.includes(text))
        if (has('SUB go') && !has('Do it')) return says('sub done')
        if (userText.includes('Fail now')) return refuses(400, 'invalid_request_error', 'no')
        if (userText.includes('TEXT ONLY')) return says('<analysis>a</analysis>\n<summary>b</summary>')
        return replies.shift() ?? says('Which one do you want?')
      },
      {
        git: false,
        claudeEnv: { CLAUDE_CODE_ENABLE_TODO_TOOLS: '1', CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS: '1' },
      },
    )
    const { work } = stage
    for (const folder of ['.claude/commands', '../lib']) mkdirSync(join(work, folder), { recursive: true })
    const server = { command: process.execPath, args: [join(import.meta.dirname, 'asking-server.ts')] }
    const watches = [{ matcher: 'watched.txt', hooks: [{ type: 'command', command: 'true' }] }]
    for (const [name, text] of [
      ['CLAUDE.md', 'Be brief.'],
      ['.claude/commands/hey.md', 'Say hello.'],
      ['.claude/settings.json', JSON.stringify({ hooks: { FileChanged: watches } })],
      ['.mcp.json', JSON.stringify({ mcpServers: { asking: server } })],
    ] as const)
      writeFileSync(join(work, name), text)

    const { id } = await stage.add('Do it', ...BYPASS)
    const told = new Set(STEPS.flatMap(({ kinds }) => kinds).map((kind) => kind.split(' ')[0]))
    const found = async () =>
      (await stage.events(id))
        .filter(({ kind }) => told.has(kind))
        .map(kindOf)
        .sort()
    const wanted: string[] = []
    for (const { what, act, kinds } of STEPS) {
      if (act !== undefined) {
        const { window } = await stage.until(id, ({ agent_state }) => agent_state === 'waiting', 60_000)
        await act(createPerson(stage, window))
      }
      wanted.push(...kinds)
      await eventually(what, async () => covers(await found(), wanted), 60_000)
    }
    expect(await found()).toEqual(wanted.toSorted())
    const events = await stage.events(id)
    expect(new Set(events.map((event) => event.hook_event_name))).toEqual(
      new Set(RECORDED.filter((name) => !NOT_PROVOKED.includes(name))),
    )
    expect(events.filter(({ suspect }) => suspect !== null)).toEqual([])
  },
)
