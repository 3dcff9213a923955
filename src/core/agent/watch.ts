import { isOver } from './agent-state.ts'
import { type Ask, askOf, describeAsk, isSameAsk, waitKindOf, withoutAsk } from './ask.ts'
import { clipWords } from '../clip.ts'
import { PERMISSION_DECIDED, type HookPayload } from './hook-event.ts'
import { move, type Step, type TurnEnd, type View } from './view.ts'

/** What proves that a prompt was accepted, also where the event that says so is lost. */
const OF_A_TURN = new Set([
  'PreToolUse',
  'PostToolUse',
  'PostToolUseFailure',
  'PermissionRequest',
  'PermissionDenied',
  'Stop',
  'StopFailure',
])

/** How the prompt begins by which Claude Code itself tells an agent that its background work ended (2.1.328). */
const OWN_NEWS = '<task-notification>'

/** Takes one hook event in. Total: an unknown or incomplete event only counts as activity. */
export function onHook(before: View, payload: HookPayload, at: number): Step {
  if (isOver(before.state)) return { view: before, change: null }
  const name = payload.hook_event_name ?? ''
  const view = {
    ...before,
    activeAt: at,
    doubt: null,
    prompts: Math.max(before.prompts, OF_A_TURN.has(name) ? 1 : 0),
    ...sessionIn(before, payload),
  }
  const evidence = digestOf(payload)
  const active = (next: View, reason: string) =>
    move(next, at, 'active', { reason, source: 'hook', evidence })
  switch (name) {
    case 'UserPromptSubmit': {
      if (payload.prompt?.startsWith(OWN_NEWS) !== true)
        return active(
          { ...view, prompts: view.prompts + 1, turnEnd: null, asks: [], decided: [] },
          'It works on the prompt.',
        )
      // Nobody sent that: a text that was sent meanwhile is not confirmed by it, and what is asked stays asked.
      const next = { ...view, prompts: Math.max(view.prompts, 1), turnEnd: null }
      return view.asks.length > 0
        ? { view: next, change: null }
        : active(next, 'Its background work has news.')
    }
    case 'PreToolUse': {
      const next = { ...view, turnEnd: null, openTools: [...view.openTools, payload.tool_use_id ?? ''] }
      // A second tool may start while the first waits for permission: only an answer ends the wait.
      return view.state === 'waiting'
        ? { view: next, change: null }
        : active(next, `It calls ${toolOf(payload)}.`)
    }
    case 'PostToolUse':
    case 'PostToolUseFailure':
    case 'PermissionDenied': {
      const openTools = view.openTools.filter((id) => id !== payload.tool_use_id)
      const asks = withoutAsk(view.asks, askOf(payload))
      const decided = withoutAsk(view.decided, askOf(payload))
      const next = { ...view, openTools, asks, decided, turnEnd: null }
      if (view.state === 'waiting' && asks.length > 0) return asking(next, at, evidence)
      // Nobody answered through us, or the wait would be over by now.
      const byKey = view.state === 'waiting' && asks.length < view.asks.length
      return active(
        next,
        byKey
          ? `Answered in the window: ${describeAsk(askOf(payload))}`
          : `${payload.tool_name ?? 'A tool'} ended.`,
      )
    }
    case 'PostToolBatch': {
      // Of a call that was denied no other event tells that it is over.
      const over = new Set(callsIn(payload))
      return { view: { ...view, openTools: view.openTools.filter((id) => !over.has(id)) }, change: null }
    }
    case 'PermissionRequest': {
      const decided = withoutAsk(view.decided, askOf(payload))
      if (decided.length < view.decided.length) return { view: { ...view, decided }, change: null }
      return asking({ ...view, asks: [...view.asks, askOf(payload)] }, at, evidence)
    }
    case PERMISSION_DECIDED:
      return onDecision(view, payload, at, evidence)
    case 'Stop': {
      if (payload.agent_id !== undefined) return { view, change: null }
      const background = (payload.background_tasks ?? []).map(
        (task) => task.description ?? task.type ?? 'task',
      )
      const message = payload.last_assistant_message ?? ''
      const turnEnd: TurnEnd = { kind: 'stop', message, background }
      // A subagent in the background may still ask.
      if (background.length > 0 && view.asks.length > 0) return { view: { ...view, turnEnd }, change: null }
      const next = { ...view, asks: [], openTools: [], turnEnd }
      if (background.length === 0) return endOfTurn(next, active)
      return active(next, `It waits for its background work: ${clipWords(background.join(', '), 120)}.`)
    }
    case 'StopFailure': {
      // A subagent's API call failed: what comes of that is the agent's to say.
      if (payload.agent_id !== undefined) return { view, change: null }
      const message = payload.last_assistant_message ?? ''
      const turnEnd: TurnEnd = { kind: 'failure', error: payload.error ?? 'unknown', message }
      return endOfTurn({ ...view, asks: [], openTools: [], turnEnd }, active)
    }
    case 'SessionStart':
    case 'SessionEnd':
    case 'Notification':
      return { view, change: null }
    default:
      return { view, change: null }
  }
}

/** A rule of the project answered, or left it to a person. */
function onDecision(view: View, payload: HookPayload, at: number, evidence: string): Step {
  // The view has moved by what proves it.
  if (payload['by'] === 'window') return { view, change: null }
  const ask = askOf(payload)
  const rule = String(payload['rule'])
  const asks = withoutAsk(view.asks, ask)
  const why = { source: 'hook', evidence } as const
  if (payload['decision'] === 'ask') {
    const [first] = view.asks
    if (first === undefined || !isSameAsk(first, ask)) return { view, change: null }
    const reason = `The rule ${rule} leaves it to a person: ${describeAsk(ask)}`
    return move(view, at, 'asked', { reason, waitKind: waitKindOf(ask.tool), ...why })
  }
  // What a person decided has moved the state already, except where the past is read again.
  const isOld = asks.length === view.asks.length && payload['by'] !== 'rule'
  if (isOld) return { view, change: null }
  if (asks.length === view.asks.length)
    return { view: { ...view, decided: [...view.decided, ask] }, change: null }
  const next = { ...view, asks, turnEnd: null }
  if (asks.length > 0) return asking(next, at, evidence)
  const by = payload['by'] === 'rule' ? `the rule ${rule}` : 'a person'
  const reason = `${payload['decision'] === 'granted' ? 'Allowed' : 'Denied'} by ${by}: ${describeAsk(ask)}`
  return move(next, at, 'active', { reason, ...why })
}

/** Takes in that a person answered that request, or whatever was asked first; `reason` says how. */
export function onAnswered(view: View, ask: Ask | null, reason: string, at: number): Step {
  const asks = ask === null ? view.asks.slice(1) : withoutAsk(view.asks, ask)
  const next = { ...view, asks, turnEnd: null }
  if (asks.length > 0) return { view: next, change: null }
  return move(next, at, 'active', { reason, source: 'supervisor', evidence: '' })
}

/** Takes in that this request was held for an answer for as long as it may be. */
export function onUnanswered(view: View, ask: Ask, at: number): Step {
  const { state, waitKind, asks } = view
  const [first] = asks
  if (state !== 'waiting' || waitKind === null || first === undefined || !isSameAsk(first, ask))
    return { view, change: null }
  const reason = `Nobody answered in time; its dialog stays in the window: ${describeAsk(ask)}`
  return move(view, at, 'asked', { reason, source: 'supervisor', evidence: '', waitKind })
}

/**
 * Takes in that a text was sent and no event says that it was accepted. The turn whose end was `before` is past; that
 * of a newer turn, of which an event did come, stays.
 */
export function onUnconfirmed(view: View, before: TurnEnd | null, at: number): Step {
  const turnEnd = view.turnEnd === before ? null : view.turnEnd
  const reason = 'A text was sent to it; no event says that it was accepted.'
  return move({ ...view, asks: [], turnEnd }, at, 'active', { reason, source: 'supervisor', evidence: '' })
}

/** A turn that is over waits for no dialog, even where the answer to it was never heard of. */
function endOfTurn(view: View, active: (view: View, reason: string) => Step): Step {
  return view.state === 'waiting' ? active(view, 'Its turn ended.') : { view, change: null }
}

function asking(view: View, at: number, evidence: string): Step {
  const ask = view.asks[0] as Ask
  const waitKind = waitKindOf(ask.tool)
  const reason = {
    permission: 'asks for permission',
    question: 'asks a question',
    plan: 'shows a plan',
    dialog: '',
  }[waitKind]
  return move(view, at, 'asked', {
    reason: `It ${reason}: ${describeAsk(ask)}`,
    source: 'hook',
    evidence,
    waitKind,
  })
}

/** The session an event is of, its transcript as the newest. */
function sessionIn(
  { transcripts, claudeSessionId }: View,
  { session_id: session, transcript_path: path }: HookPayload,
): Pick<View, 'transcripts' | 'claudeSessionId'> {
  const isNew = path !== undefined && transcripts.at(-1) !== path
  return {
    transcripts: isNew ? [...transcripts.filter((known) => known !== path), path] : transcripts,
    claudeSessionId: session ?? claudeSessionId,
  }
}

/** Ids of the calls of a batch that is over. */
function callsIn({ tool_calls: calls }: HookPayload): unknown[] {
  return Array.isArray(calls) ? calls.map((call: { tool_use_id?: unknown } | null) => call?.tool_use_id) : []
}

function toolOf(payload: HookPayload): string {
  return describeAsk(askOf(payload))
}

/** What of a payload proves something. */
const PROOF = [
  'hook_event_name',
  'tool_name',
  'tool_input',
  'error',
  'last_assistant_message',
  'background_tasks',
  'prompt_id',
]

/** That part as one line of JSON of at most 600 characters. */
function digestOf(payload: HookPayload): string {
  return clipWords(JSON.stringify(Object.fromEntries(PROOF.map((key) => [key, payload[key]]))), 600)
}
