import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../core/clock.ts'
import { describeAsk, questionsOf, waitKindOf, type Ask } from '../core/agent/ask.ts'
import type { View } from '../core/agent/view.ts'
import { readScreen } from '../core/screen/screen.ts'
import type { WaitKind } from '../core/agent/agent-state.ts'
import { isDialogOf } from './ask-dialog.ts'
import { type Delivery, pressOption } from './deliver.ts'
import { createHeldAsks, detailOf, toAnswers, type AskReply } from './held-ask.ts'
import { createKeyLine } from './key-line.ts'
import type { Pane } from './pane.ts'
import { toMessage } from './prompt.ts'

/** What became of an answer; `refused` says in a sentence what would work instead. */
export type Answered = 'done' | 'not_waiting' | { refused: string }

/** Hears which request it is that is about to be decided: another may have come while the answer waited. */
export type Decides = (ask: Ask) => void

/** What a waiting agent wants to know; `id` is the same for the same request only. */
export type Pending = { id: string; kind: WaitKind; tool: string | null; detail: string; options: string[] }

/**
 * A person's side of a waiting agent. Answers go through the held hook, which needs no key press; where none
 * is held (the daemon was restarted meanwhile), through the dialog's own keys, each after a look at the
 * screen. The dialog in the window stays usable all the time, and whoever is first wins. An answer may name
 * the `id` it is for: then it is refused once the agent asks for something else.
 */
export type Answers = {
  pending: () => Pending | null
  approve: (id: string | null, decides?: Decides) => Promise<Answered>
  deny: (reason: string | null, id: string | null, decides?: Decides) => Promise<Answered>
  send: (text: string, id: string | null) => Promise<Answered>
  /** The one permission request that is open and that no hook holds, though one would by now: it came while no daemon ran. */
  unheld: () => Ask | null
  /** Answers that one for a rule, by key, and only while the dialog is plainly the one that asks for it. */
  byRule: (ask: Ask, effect: 'allow' | 'deny', rule: string) => Promise<Answered>
  /** Holds a PermissionRequest hook open; resolves with Claude Code's own answer format. */
  hold: (ask: Ask, signal: AbortSignal) => Promise<AskReply>
  /** Compares what is held with what is asked; to be called whenever the view has changed. */
  follow: () => void
  release: () => void
}

/** Measured: the request comes within 100 ms of its record. */
const HELD_WITHIN_MS = 1500

export function createAnswers(options: {
  pane: Pane
  view: () => View
  screen: () => string
  /** Types a text as the next prompt; one at a time. */
  deliver: (text: string) => Promise<Delivery>
  answered: (ask: Ask | null, reason: string) => void
  /** How long a request is held for an answer, and who hears that nobody gave one. */
  holdMs: number
  unanswered: (ask: Ask) => void
  clock: Clock
}): Answers {
  const { pane, view, answered } = options
  const held = createHeldAsks(
    (ask) => {
      if (view().state === 'waiting') answered(ask, `Answered in the window: ${describeAsk(ask)}`)
    },
    { holdMs: options.holdMs, onLate: options.unanswered },
  )

  const current = () => held.of(view().asks) ?? view().asks[0] ?? null

  // The hook's record and its held request travel apart: just after the first the second may be on its way.
  async function heldSoon(): Promise<void> {
    const until = performance.now() + HELD_WITHIN_MS
    while (
      held.of(view().asks) === null &&
      options.clock() - view().stateAt < HELD_WITHIN_MS &&
      performance.now() < until
    ) {
      await sleep(25)
    }
  }

  async function say(text: string): Promise<Answered> {
    const delivery = await options.deliver(toMessage(text))
    return typeof delivery === 'string'
      ? 'done'
      : { refused: `The text was not delivered: ${delivery.undelivered}.` }
  }

  function pending(): Pending | null {
    const { state, waitKind, turnEnd, reason, stateAt } = view()
    if (state !== 'waiting' || waitKind === null) return null
    const ask = current()
    if (ask !== null) {
      const id = idOf(ask.tool, JSON.stringify(ask.input))
      return { id, kind: waitKind, tool: ask.tool, detail: detailOf(ask), options: optionsOf(ask) }
    }
    const id = idOf(waitKind, String(stateAt))
    if (turnEnd?.kind === 'stop') {
      return { id, kind: waitKind, tool: null, detail: turnEnd.message, options: [] }
    }
    const detail = `${reason}\n${options.screen().trim()}`
    return {
      id,
      kind: waitKind,
      tool: null,
      detail,
      options: readScreen(options.screen()).dialog?.options ?? [],
    }
  }

  /** What is asked now, when it is what the answer is for; else why there is nothing to answer. */
  async function askFor(id: string | null): Promise<{ ask: Ask | null; waitKind: WaitKind } | Answered> {
    if (view().state !== 'waiting') return 'not_waiting'
    if (view().asks.length > 0) await heldSoon()
    const now = pending()
    if (now === null) return 'not_waiting'
    if (id !== null && id !== now.id) return { refused: ASKS_ELSE }
    return { ask: current(), waitKind: now.kind }
  }

  function unheld(): Ask | null {
    const { state, waitKind, asks, stateAt } = view()
    const [ask, ...others] = asks
    if (state !== 'waiting' || waitKind !== 'permission' || ask === undefined || others.length > 0)
      return null
    return held.of(asks) === null && options.clock() - stateAt > HELD_WITHIN_MS ? ask : null
  }

  /** While an agent asks for one thing its dialog is the one of that kind; of several it has to be plain which. */
  async function mayBeDialogOf(ask: Ask | null): Promise<boolean> {
    if (ask === null) return true
    const text = await pane.capture()
    return view().asks.length > 1
      ? isDialogOf(ask, text)
      : readScreen(text).dialog?.kind === waitKindOf(ask.tool)
  }

  const inLine = createKeyLine(pane)
  const byKey = async (ask: Ask | null, press: () => Promise<Answered>): Promise<Answered> =>
    inLine(async () => {
      if (view().state !== 'waiting') return 'not_waiting'
      if (current() !== ask) return { refused: ASKS_ELSE }
      return (await pane.isAttended()) ? { refused: SOMEBODY_IS_THERE } : press()
    })

  return {
    pending,

    async approve(id, decides) {
      const found = await askFor(id)
      if (typeof found === 'string' || 'refused' in found) return found
      const { ask, waitKind } = found
      if (waitKind === 'question') return { refused: 'It asks a question: answer with `ccm send`.' }
      if (ask !== null) decides?.(ask)
      // Claude Code takes an "allow" for a plan only with the input repeated (2.1.328); its dialog stays otherwise.
      const repeated = waitKind === 'plan' && ask !== null ? { updatedInput: ask.input } : {}
      if (held.decide(ask, { behavior: 'allow', ...repeated })) {
        answered(ask, `Approved by a person: ${ask === null ? waitKind : describeAsk(ask)}`)
        return 'done'
      }
      return byKey(ask, async () => {
        if (!(await mayBeDialogOf(ask))) return { refused: SHOWS_ANOTHER }
        if (!(await pressYes(pane)))
          return { refused: 'Its dialog cannot be approved from here: use `ccm attach`.' }
        answered(ask, 'Approved by a person, by key.')
        return 'done'
      })
    },

    async deny(reason, id, decides) {
      const found = await askFor(id)
      if (typeof found === 'string' || 'refused' in found) return found
      const { ask, waitKind } = found
      if (ask !== null) decides?.(ask)
      const message =
        reason ?? 'A person denied this. Do not try it again; go on without it or end with the error line.'
      if (held.decide(ask, { behavior: 'deny', message })) {
        answered(ask, `Denied by a person: ${ask === null ? waitKind : describeAsk(ask)}`)
        return 'done'
      }
      const denied = await byKey(ask, async () => {
        const { dialog } = readScreen(await pane.capture())
        if (dialog === null || !['permission', 'plan', 'question'].includes(dialog.kind)) {
          return { refused: 'It shows no dialog that can be denied from here: use `ccm attach`.' }
        }
        if (!(await mayBeDialogOf(ask))) return { refused: SHOWS_ANOTHER }
        // Escape refuses and ends the turn; the reason starts the next one.
        await pane.press('Escape')
        return 'done'
      })
      return denied === 'done' ? say(`Denied: ${message}`) : denied
    },

    async send(text, id) {
      const found = await askFor(id)
      if (typeof found === 'string' || 'refused' in found) return found
      const { ask, waitKind } = found
      if (ask !== null && waitKind === 'question') {
        const reply = toAnswers(ask, text)
        if ('refused' in reply) return reply
        const updatedInput = { ...ask.input, answers: reply.answers }
        if (held.decide(ask, { behavior: 'allow', updatedInput })) {
          answered(ask, 'Answered by a person.')
          return 'done'
        }
        return byKey(ask, async () => {
          const [wanted, ...others] = Object.values(reply.answers)
          // A digit answers the first of several, and only marks a choice where several may be chosen.
          const isOneKey = others.length === 0 && questionsOf(ask)[0]?.multiSelect === false
          if (isOneKey && (await pressOption(pane, ['question'], (label) => label === wanted))) {
            answered(ask, 'Answered by a person, by key.')
            return 'done'
          }
          return {
            refused:
              'Only one of its options can be chosen from here now: use `ccm attach` for another answer.',
          }
        })
      }
      if (waitKind === 'permission' || waitKind === 'plan') {
        return {
          refused: `It waits for a ${waitKind === 'plan' ? 'plan to be approved' : 'permission'}: use \`ccm approve\` or \`ccm deny --reason\`.`,
        }
      }
      return say(text)
    },

    unheld,

    async byRule(ask, effect, rule) {
      const done = await byKey(ask, async () => {
        if (!isDialogOf(ask, await pane.capture()))
          return { refused: 'Its dialog is not that of the request.' }
        // What was asked before the look may be answered by now.
        if (unheld() !== ask) return 'not_waiting'
        if (effect === 'deny') await pane.press('Escape')
        else if (!(await pressYes(pane))) return { refused: 'Its dialog cannot be approved by key.' }
        else answered(ask, `Allowed by the rule ${rule}, by key: ${describeAsk(ask)}`)
        return 'done'
      })
      return done === 'done' && effect === 'deny' ? say(`Denied: ${deniedBy(rule)}`) : done
    },

    hold(ask, signal) {
      const reply = held.hold(ask, signal)
      held.follow(view().asks)
      return reply
    },
    follow: () => held.follow(view().asks),
    release: () => held.release(),
  }
}

/** What an agent is told of a request that a rule denies. */
export function deniedBy(rules: string): string {
  return `The rules of this project deny it (${rules}). Do not try it again in another way; go on without it or end with the error line.`
}

const ASKS_ELSE = 'It asks for something else by now: look again.'
const SOMEBODY_IS_THERE = 'A person has its window open: answer there.'
const SHOWS_ANOTHER = 'Its window does not plainly show the dialog of this request: use `ccm attach`.'

function idOf(...parts: string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 12)
}

/** The choices of a single question; several are given with the questions themselves. */
function optionsOf(ask: Ask): string[] {
  const questions = questionsOf(ask)
  return questions.length === 1 ? (questions[0]?.options ?? []) : []
}

/** Never "switch to auto mode" or "don't ask again": a person approved this one thing. */
async function pressYes(pane: Pane): Promise<boolean> {
  const isYes = (label: string) => /^yes\b/i.test(label) && !/auto mode/i.test(label)
  const isOnce = (label: string) => isYes(label) && !/again|always|session/i.test(label)
  return (
    (await pressOption(pane, ['permission'], isOnce)) ||
    (await pressOption(pane, ['plan'], (label) => /manually approve/i.test(label))) ||
    (await pressOption(pane, ['plan'], isYes))
  )
}
