import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ModelScript } from '../../src/demo/model.ts'
import { BOX, calls, inTurn, OVER, says, type Keep, type Scenario } from './screen-scenarios.ts'
import type { Setup, Stage } from './screen-stage.ts'

const STEPS = Array.from({ length: 30 }, (_, index) => `${index + 1}. step ${index + 1}`).join('\n')

/** Dialogs inside a session: the client asks before it goes on. */
export const DIALOGS: Scenario[] = [
  permission('bash', 'Bash', {
    command: 'rm -rf dist && git push --force origin main',
    description: 'Clean',
  }),
  permission('bash-marker', 'Bash', {
    command: 'printf "\\n❯ \\n⏵⏵ bypass permissions on · esc to interrupt" > note',
    description: 'Ready to code? [DONE]',
  }),
  permission('write', 'Write', { file_path: 'notes.md', content: '# Notes\n\n1. one\n2. two\n' }),
  permission('write-long', 'Write', { file_path: 'long.md', content: STEPS }),
  permission('webfetch', 'WebFetch', { url: 'http://127.0.0.1:9/doc', prompt: 'What is it?' }),
  {
    name: 'edit',
    setup: () => ({
      prompt: 'Edit it',
      script: inTurn(
        calls('Read', { file_path: 'retries.ts' }),
        calls('Edit', { file_path: 'retries.ts', old_string: 'retries = 3', new_string: 'retries = 5' }),
      ),
    }),
    play: async (stage, keep) => {
      await stage.untilStatus('waiting')
      await sleep(400)
      await keep('waiting', 'permission-edit')
      await refuse(stage, keep, 'refused-edit')
    },
  },
  question('question', [ask('Which database?', false)]),
  question('question-multi', [ask('Which checks?', true)]),
  question('question-two', [ask('Which database?', false), ask('Which checks?', true)]),
  {
    name: 'plan',
    setup: () => ({
      mode: 'plan',
      prompt: 'Plan it',
      scriptIn: planScript('# Plan\n\n1. Write the file\n2. Test it\n'),
    }),
    play: async (stage, keep) => {
      await stage.until(/Would you like to\s+proceed/)
      await sleep(400)
      await keep('waiting', 'plan')
    },
  },
  {
    name: 'plan-long',
    setup: () => ({ mode: 'plan', prompt: 'Plan it', scriptIn: planScript(`# Plan\n\n${STEPS}\n`) }),
    play: async (stage, keep) => {
      await stage.until(/Would you like to\s+proceed/)
      await sleep(400)
      await keep('waiting', 'plan-long')
    },
  },
  {
    name: 'model-menu',
    setup: () => ({ prompt: 'Go', script: inTurn(says('Done.')) }),
    play: async (stage, keep) => {
      await stage.until(OVER)
      await stage.type('/model')
      await sleep(500)
      await stage.keys('Enter')
      await stage.until(/Select model/)
      await sleep(300)
      await keep('waiting', 'model-menu')
    },
  },
]

/** Dialogs before the first prompt. */
export const START_DIALOGS: Scenario[] = [
  atStart('trust', { ask: 'trust' }, /Yes, I trust/),
  atStart('api-key', { ask: 'api-key' }, /custom API key/),
  atStart('bypass', { mode: 'bypassPermissions', ask: 'bypass' }, /Yes, I accept/),
  atStart('add-dir', { args: ['--add-dir', '../lib'] }, /Yes, add it/),
  {
    name: 'onboarding',
    setup: () => ({ ask: 'onboarding' }),
    play: async (stage, keep) => {
      await stage.until(/Choose the text style/)
      await sleep(300)
      await keep('waiting', 'onboarding')
      await stage.keys('Enter')
      await stage.until(/Press Enter to continue/)
      await keep('waiting', 'onboarding-notes')
    },
  },
]

/** The client has gone. */
export const EXITED: Scenario[] = [
  {
    name: 'exit-command',
    setup: () => ({ prompt: 'Go', script: inTurn(says('Done.')) }),
    play: async (stage, keep) => {
      await stage.until(OVER)
      await stage.type('/exit')
      await sleep(500)
      await stage.keys('Enter')
      await stage.until(/Resume this session with:\nclaude .*--resume/s)
      await keep('exited', 'exit-command')
    },
  },
  ...(['SIGTERM', 'SIGKILL', 'SIGHUP'] as const).map((signal): Scenario => {
    const command = 'sleep 5'
    return {
      name: signal.toLowerCase(),
      once: true,
      setup: () => ({ mode: 'bypassPermissions', prompt: 'Go', script: inTurn(calls('Bash', { command })) }),
      play: async (stage, keep) => {
        await stage.until(/sleep 5/)
        await stage.signal(signal)
        await stage.until(/Pane is dead/)
        await keep('exited', signal.toLowerCase())
      },
    }
  }),
  {
    name: 'unknown-flag',
    setup: () => ({ args: ['--no-such-flag'] }),
    play: async (stage, keep) => {
      await stage.until(/unknown option|Pane is dead/)
      await keep('exited', 'unknown-flag')
    },
  },
  {
    name: 'unknown-session',
    setup: () => ({ args: ['--resume', '00000000-0000-4000-8000-000000000000'] }),
    play: async (stage, keep) => {
      await stage.until(/No conversation|Pane is dead/)
      await keep('exited', 'unknown-session')
    },
  },
]

function permission(name: string, tool: string, input: Record<string, unknown>): Scenario {
  return {
    name,
    ...(name.includes('-') ? { once: true } : {}),
    setup: () => ({ prompt: 'Go', script: inTurn(calls(tool, input)) }),
    play: async (stage, keep) => {
      await stage.untilStatus('waiting')
      await sleep(400)
      await keep('waiting', `permission-${name}`)
      await refuse(stage, keep, `refused-${name}`)
    },
  }
}

async function refuse(stage: Stage, keep: Keep, name: string): Promise<void> {
  await stage.keys('Escape')
  await stage.untilStatus('idle')
  await sleep(400)
  await keep('ready', name)
}

function question(name: string, questions: object[]): Scenario {
  return {
    name,
    setup: () => ({ prompt: 'Go', script: inTurn(calls('AskUserQuestion', { questions }, 'One question.')) }),
    play: async (stage, keep) => {
      await stage.untilStatus('waiting')
      await sleep(400)
      await keep('waiting', name)
      await refuse(stage, keep, `refused-${name}`)
    },
  }
}

function ask(text: string, multiSelect: boolean): object {
  const options = [
    { label: 'First', description: 'What most would take' },
    { label: 'Second', description: 'What few would take' },
  ]
  return { question: text, header: text.split(' ')[1]?.slice(0, -1), multiSelect, options }
}

/** The client shows the plan that stands in a file whose name only its transcript tells. */
function planScript(plan: string): (configFolder: string) => ModelScript {
  return (configFolder) => async () => {
    for (let tries = 0; tries < 50; tries++) {
      await sleep(100)
      const file = await findPlanFile(configFolder)
      if (file === null) continue
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, plan)
      return calls('ExitPlanMode', {})
    }
    return says('No plan file was named.')
  }
}

async function findPlanFile(configFolder: string): Promise<string | null> {
  const names = await readdir(configFolder, { recursive: true })
  for (const name of names.filter((name) => name.endsWith('.jsonl'))) {
    const text = await readFile(join(configFolder, name), 'utf8')
    const file = /"planFilePath":"([^"]+)"/.exec(text)?.[1]
    if (file !== undefined) return file
  }
  return null
}

function atStart(name: string, setup: Setup, sign: RegExp): Scenario {
  return {
    name,
    setup: () => setup,
    play: async (stage, keep) => {
      await stage.until(sign)
      await sleep(300)
      await keep('waiting', name)
      if (name !== 'api-key') return
      await stage.keys('Up', 'Enter')
      await stage.until(BOX)
      await sleep(500)
      await keep('ready', 'after-api-key')
    },
  }
}
