import type { ModelScript, ScriptedReply } from '../../src/demo/model.ts'
import type { Sighting } from '../../src/core/screen/screen.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Setup, Stage } from './screen-stage.ts'

/** Keeps what is on the screen now under the answer a person gives for it. */
export type Keep = (answer: Sighting['kind'], name: string) => Promise<void>

/** One way to bring the client into states that are known from the script, not from its screen. */
export type Scenario = {
  name: string
  setup: () => Setup
  play: (stage: Stage, keep: Keep) => Promise<void>
  /** Played in one format only: its screens differ little from format to format. */
  once?: true
}

/** A turn is over: the line with its duration, an empty box below it. */
export const OVER = /^[·✢✳✶✻✽*] \S+ for .* · done /mu
/** The input box has been drawn. */
export const BOX = /^─{10,}\n❯/mu

/** Answers with these replies in order, then with the last one. */
export function inTurn(...replies: ScriptedReply[]): ModelScript {
  let next = 0
  return () => replies[Math.min(next++, replies.length - 1)] ?? { kind: 'hang' }
}

/** A model's message of one text. */
export function says(text: string, wordMs?: number): ScriptedReply {
  return wordMs === undefined ? { kind: 'message', text } : { kind: 'message', text, wordMs }
}

/** A model's message that calls one tool. */
export function calls(name: string, input: Record<string, unknown>, text?: string): ScriptedReply {
  const tools = [{ name, input }]
  return text === undefined ? { kind: 'message', tools } : { kind: 'message', text, tools }
}

/** Runs every tool without asking. */
export const BYPASS = { mode: 'bypassPermissions' }
const STORY = 'The worker reads one row at a time and writes its result back. '.repeat(12)

/** Screens with an input box where nothing runs. */
export const READY: Scenario[] = [
  {
    name: 'start',
    setup: () => BYPASS,
    play: async (stage, keep) => {
      await keep('initializing', 'blank')
      await stage.until(BOX)
      await sleep(500)
      await keep('ready', 'fresh')
      await stage.type('Summarise what this folder holds')
      await sleep(300)
      await keep('ready', 'typed')
      await stage.keys('C-u')
      await stage.paste('one\ntwo\nthree\nfour\nfive\n')
      await sleep(300)
      await keep('ready', 'pasted')
    },
  },
  {
    name: 'over',
    setup: () => ({
      ...BYPASS,
      prompt: 'Explain the dialog in the docs',
      script: inTurn(
        says('It says:\n\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n\n Esc to cancel · Tab to amend'),
        says('[DONE] is the last word, and `esc to interrupt` stands in the footer.'),
      ),
    }),
    play: async (stage, keep) => {
      await stage.until(OVER)
      await keep('ready', 'quotes-dialog')
      await stage.type('And now?')
      await stage.keys('Enter')
      await stage.until((screen) => (screen.match(/ · done /g) ?? []).length === 2)
      await keep('ready', 'quotes-footer')
      await stage.keys('C-o')
      await stage.until(/Showing detailed transcript/)
      await keep('ready', 'transcript-view')
      await stage.keys('C-o')
      await stage.until(BOX)
      await stage.type('/')
      await stage.until(/\/add-dir/)
      await keep('ready', 'slash-menu')
      await stage.keys('C-u')
      await stage.type('/compact')
      await sleep(500)
      await stage.keys('Enter')
      await stage.until(/Compacted/)
      await stage.untilStatus('idle')
      await keep('ready', 'compacted')
      await stage.type('/clear')
      await sleep(500)
      await stage.keys('Enter')
      await stage.until((screen) => !screen.includes('Compacted'))
      await sleep(500)
      await keep('ready', 'cleared')
    },
  },
  {
    name: 'interrupted',
    setup: () => ({ ...BYPASS, prompt: 'Summarise', script: inTurn(says(STORY, 60)) }),
    play: async (stage, keep) => {
      await stage.until(/The worker/)
      await stage.keys('Escape')
      await stage.until(/Interrupted/)
      await keep('ready', 'interrupted')
      await stage.keys('C-c')
      await stage.until(/again to exit/)
      await keep('ready', 'ctrl-c-once')
    },
  },
]

/** Screens of a running turn, or of a finished one whose background work goes on. */
export const WORKING: Scenario[] = [
  {
    name: 'streaming',
    setup: () => ({
      ...BYPASS,
      prompt: 'Summarise',
      script: inTurn({
        kind: 'message',
        text: `[DONE]\n\n[ERROR] is not meant.\n\n${STORY}`,
        wordMs: 60,
        delayMs: 1500,
      }),
    }),
    play: async (stage, keep) => {
      await stage.untilStatus('busy')
      await sleep(700)
      await keep('working', 'first-token')
      await stage.until(/The worker/)
      await keep('working', 'streaming-marker')
      await stage.type('and then')
      await sleep(300)
      await stage.keys('Enter')
      await stage.until(/Queued/)
      await keep('working', 'queued')
      await stage.keys('C-o')
      await stage.until(/Showing detailed transcript/)
      await keep('working', 'transcript-view')
    },
  },
  {
    name: 'tool',
    setup: () => ({
      ...BYPASS,
      prompt: 'Run it',
      script: inTurn({
        kind: 'message',
        thinking: 'I should run the tests first. '.repeat(20),
        wordMs: 100,
        tools: [
          { name: 'Bash', input: { command: 'sleep 30; echo "[DONE]"', description: 'Run the tests' } },
        ],
      }),
    }),
    play: async (stage, keep) => {
      await stage.until(/sleep 30/)
      await sleep(2500)
      await keep('working', 'tool')
    },
  },
  {
    name: 'thinking',
    setup: () => ({
      ...BYPASS,
      prompt: 'Think',
      script: inTurn({ kind: 'message', thinking: 'First I look. '.repeat(60), text: STORY, wordMs: 500 }),
    }),
    play: async (stage, keep) => {
      await stage.untilStatus('busy')
      await sleep(2500)
      await keep('working', 'thinking')
    },
  },
  {
    name: 'retry',
    setup: () => ({
      ...BYPASS,
      prompt: 'Go',
      env: { CLAUDE_CODE_MAX_RETRIES: '6' },
      script: inTurn({ kind: 'status', status: 529, type: 'overloaded_error', message: 'Overloaded' }),
    }),
    play: async (stage, keep) => {
      await stage.until(/attempt 1\//)
      await keep('working', 'retry')
      await stage.until(/attempt 3\//)
      await keep('working', 'retry-later')
    },
  },
  {
    name: 'compacting',
    setup: () => {
      let requests = 0
      return {
        ...BYPASS,
        prompt: 'Go',
        script: () => (requests++ === 0 ? says('Done.') : { kind: 'hang' }),
      }
    },
    play: async (stage, keep) => {
      await stage.until(OVER)
      await stage.type('/compact')
      await sleep(500)
      await stage.keys('Enter')
      await stage.until(/Compacting/)
      await sleep(500)
      await keep('working', 'compacting')
    },
  },
  {
    name: 'shell',
    setup: () => ({
      ...BYPASS,
      prompt: 'Build it',
      script: inTurn(
        calls('Bash', { command: 'sleep 60', description: 'Build', run_in_background: true }),
        says('The build runs in the background.\n\n[DONE]'),
      ),
    }),
    play: async (stage, keep) => {
      await stage.until(OVER)
      await stage.untilStatus('shell')
      await keep('working', 'background-shell')
    },
  },
  {
    name: 'subagent',
    setup: () => ({
      ...BYPASS,
      prompt: 'Survey it',
      script: (request) => {
        if (request.userText.includes('SURVEY')) return { kind: 'hang' }
        if (request.toolResults.length > 0) return says('The survey is under way.\n\n[ERROR] not yet')
        const input = { description: 'Survey', prompt: 'SURVEY the tests', subagent_type: 'general-purpose' }
        return calls('Agent', { ...input, run_in_background: true })
      },
    }),
    play: async (stage, keep) => {
      await stage.until(/Waiting for 1 /)
      await sleep(1000)
      await keep('working', 'subagent')
    },
  },
]
