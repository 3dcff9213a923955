import { isSameAsk, questionsOf, waitKindOf, type Ask } from '../core/agent/ask.ts'

/** Claude Code's answer format for a held PermissionRequest hook; {} leaves it to the dialog. */
export type AskReply =
  | Record<string, never>
  | { hookSpecificOutput: { hookEventName: 'PermissionRequest'; decision: AskDecision } }
export type AskDecision =
  { behavior: 'allow'; updatedInput?: Record<string, unknown> } | { behavior: 'deny'; message: string }

/** An agent asks for a few things at once. Each takes a connection of the daemon's, and up to 16 MiB. */
const HELD_MAX = 16

/** The permission requests of one agent that are held open, in the order they came. */
export type HeldAsks = {
  /** Holds until someone decides; {} when the client goes away first, `release` is called, or too many are held. */
  hold: (ask: Ask, signal: AbortSignal) => Promise<AskReply>
  /** The held one that belongs to the first of these; without any, the oldest that no hook event announced yet. */
  of: (asks: Ask[]) => Ask | null
  /** Lets go of those that were asked and are not any more: their dialogs were answered in the window. */
  follow: (asks: Ask[]) => void
  /** Settles that one; false when it is not held (any more). */
  decide: (ask: Ask | null, decision: AskDecision) => boolean
  release: () => void
}

/**
 * `onGone` hears of each request that its client closed: somebody answered in the window. One that nobody
 * answers within `holdMs` is let go, and `onLate` hears of it: only its dialog is left.
 */
export function createHeldAsks(
  onGone: (ask: Ask) => void,
  late: { holdMs: number; onLate: (ask: Ask) => void } | null = null,
): HeldAsks {
  const held: { ask: Ask; announced: boolean; settle: (reply: AskReply) => void }[] = []

  return {
    hold: (ask, signal) =>
      new Promise((resolve) => {
        // Closed while its body was still read: nobody would ever hear of the end of it.
        if (signal.aborted || held.length >= HELD_MAX) return resolve({})
        const timer = late === null ? undefined : setTimeout(tooLate, late.holdMs)
        const entry = {
          ask,
          announced: false,
          settle: (reply: AskReply) => {
            clearTimeout(timer)
            resolve(reply)
          },
        }
        held.push(entry)
        function tooLate(): void {
          const index = held.indexOf(entry)
          if (index < 0) return
          held.splice(index, 1)
          resolve({})
          late?.onLate(ask)
        }
        signal.addEventListener('abort', () => {
          const index = held.indexOf(entry)
          if (index < 0) return
          held.splice(index, 1)
          entry.settle({})
          onGone(ask)
        })
      }),
    of([first]) {
      const mine = held.find(({ ask, announced }) =>
        first === undefined ? !announced : isSameAsk(ask, first),
      )
      return mine?.ask ?? null
    },
    follow(asks) {
      for (const entry of held.slice()) {
        if (asks.some((ask) => isSameAsk(ask, entry.ask))) {
          entry.announced = true
        } else if (entry.announced) {
          // Claude Code closes neither the connection nor the request when a key was faster (2.1.328).
          held.splice(held.indexOf(entry), 1)
          entry.settle({})
        }
      }
    },
    decide(ask, decision) {
      const index = held.findIndex((entry) => entry.ask === ask)
      if (index < 0) return false
      const [entry] = held.splice(index, 1)
      entry?.settle({ hookSpecificOutput: { hookEventName: 'PermissionRequest', decision } })
      return true
    },
    release() {
      for (const entry of held.splice(0)) entry.settle({})
    },
  }
}

/**
 * Turns a person's text into the answers of an AskUserQuestion call: one line a question, each the label or
 * number of an option, several separated by commas where several may be chosen, or free text. A sentence
 * when the lines do not fit the questions.
 */
export function toAnswers(ask: Ask, text: string): { answers: Record<string, string> } | { refused: string } {
  const questions = questionsOf(ask)
  const lines = questions.length === 1 ? [text.trim()] : text.trim().split('\n')
  if (questions.length === 0) return { refused: 'The agent asks nothing that a text can answer.' }
  if (lines.length !== questions.length) {
    return {
      refused: `The agent asks ${questions.length} questions: send ${questions.length} lines, one answer each.`,
    }
  }
  const answers: Record<string, string> = {}
  for (const [index, question] of questions.entries()) {
    const line = lines[index]?.trim() ?? ''
    const parts = question.multiSelect ? line.split(',').map((part) => part.trim()) : [line]
    answers[question.question] = parts.map((part) => optionOf(question.options, part)).join(', ')
  }
  return { answers }
}

function optionOf(options: string[], text: string): string {
  const byLabel = options.find((label) => label.toLowerCase() === text.toLowerCase())
  const byNumber = /^\d+$/.test(text) ? options[Number(text) - 1] : undefined
  return byLabel ?? byNumber ?? text
}

/** What an agent asks for, in full, for the person who decides. */
export function detailOf(ask: Ask): string {
  const { input } = ask
  const kind = waitKindOf(ask.tool)
  if (kind === 'question') {
    const questions = questionsOf(ask)
    // The options of a single question are given apart.
    if (questions.length === 1) return questions[0]?.question ?? ''
    return questions
      .map(({ question, options }) =>
        [question, ...options.map((label, index) => `  ${index + 1}. ${label}`)].join('\n'),
      )
      .join('\n')
  }
  if (kind === 'plan') {
    return typeof input['plan'] === 'string' ? input['plan'] : 'The plan is on the screen of its window.'
  }
  if (typeof input['command'] === 'string') return input['command']
  if (typeof input['old_string'] === 'string') {
    const mark = (sign: string, text: unknown) => String(text).replaceAll(/^/gm, sign)
    return `${String(input['file_path'])}\n${mark('-', input['old_string'])}\n${mark('+', input['new_string'])}`
  }
  if (typeof input['content'] === 'string') {
    return `${String(input['file_path'])}\n${input['content'].replace(/\n$/, '').replaceAll(/^/gm, '+')}`
  }
  return JSON.stringify(input, null, 2)
}
