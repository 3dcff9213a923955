import type { WaitKind } from './agent-state.ts'
import { clipWords } from '../clip.ts'
import type { HookPayload } from './hook-event.ts'

/** One permission request, question or plan. */
export type Ask = { tool: string; input: Record<string, unknown> }

/** What an agent that asks wants, on one line of at most 200 characters. */
export function describeAsk(ask: Ask): string {
  const { input } = ask
  if (ask.tool === 'AskUserQuestion') return clipWords(questionsOf(ask)[0]?.question ?? 'a question', 200)
  const named = [input['command'], input['file_path'], input['url'], input['plan']]
  const what = named.find((value) => typeof value === 'string') ?? JSON.stringify(input)
  return clipWords(`${ask.tool} ${what}`.replaceAll(/\s+/g, ' '), 200)
}

export type AskedQuestion = { question: string; options: string[]; multiSelect: boolean }

/** The questions of an AskUserQuestion call; [] for every other tool or an odd input. */
export function questionsOf(ask: Ask): AskedQuestion[] {
  const raw = ask.input['questions']
  if (ask.tool !== 'AskUserQuestion' || !Array.isArray(raw)) return []
  return raw.flatMap(
    (entry: { question?: unknown; options?: { label?: unknown }[]; multiSelect?: unknown }) =>
      typeof entry?.question === 'string'
        ? [
            {
              question: entry.question,
              options: (Array.isArray(entry.options) ? entry.options : []).map(({ label }) =>
                typeof label === 'string' ? label : '',
              ),
              multiSelect: entry.multiSelect === true,
            },
          ]
        : [],
  )
}

/** What kind of wait a tool's permission request opens. */
export function waitKindOf(tool: string): WaitKind {
  if (tool === 'AskUserQuestion') return 'question'
  return tool === 'ExitPlanMode' ? 'plan' : 'permission'
}

/** The asks without the first that is this one. */
export function withoutAsk(asks: Ask[], done: Ask): Ask[] {
  const index = asks.findIndex((ask) => isSameAsk(ask, done))
  return index < 0 ? asks : asks.toSpliced(index, 1)
}

/** Two reports of one request. */
export function isSameAsk(one: Ask, other: Ask): boolean {
  // An answered question comes back with its answers added to the input, so the name alone has to do there.
  if (one.tool !== other.tool) return false
  if (waitKindOf(one.tool) !== 'permission') return true
  const [first, second] = [JSON.stringify(one.input), JSON.stringify(other.input)]
  return first === second || isRecordOf(first, second) || isRecordOf(second, first)
}

/** What takes the place of what is not stored: of secrets, and of the middle and end of long texts. */
const LEFT_OUT = /\*\*\*|… \(\d+ bytes\) …/

/** A request that was read back from the record, after a restart, may have less in it than the live one. */
function isRecordOf(stored: string, live: string): boolean {
  const [first = '', ...rest] = stored.split(LEFT_OUT)
  const last = rest.pop()
  if (last === undefined || !live.startsWith(first)) return false
  let from = first.length
  for (const part of rest) {
    const at = live.indexOf(part, from)
    if (at < 0) return false
    from = at + part.length
  }
  return live.length - last.length >= from && live.endsWith(last)
}

/** Whether what it is about is all there, as it never is where something of it was not stored. */
export function isAllThere({ input }: Ask): boolean {
  const about = ['command', 'file_path', 'notebook_path', 'path', 'url', 'pattern', 'glob'].map(
    (key) => input[key],
  )
  return !LEFT_OUT.test(JSON.stringify(about))
}

/** The request in a hook event about a tool. */
export function askOf(payload: HookPayload): Ask {
  return { tool: payload.tool_name ?? 'a tool', input: payload.tool_input ?? {} }
}
