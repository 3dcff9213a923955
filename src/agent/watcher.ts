import type { Logger } from 'pino'
import type { AgentState, WaitKind } from '../core/agent-state.ts'
import { isOver } from '../core/agent-state.ts'
import type { EvidenceSource } from '../core/attempt.ts'
import { clip } from '../core/clip.ts'
import type { Clock } from '../core/clock.ts'
import { passedDeadline, type Deadlines } from '../core/deadline.ts'
import type { HookEvent } from '../core/hook-event.ts'
import { readEnding, type Markers } from '../core/marker.ts'
import type { Outcome } from '../core/queue.ts'
import { readScreen } from '../core/screen.ts'
import {
  initialView,
  isQuietlyIdle,
  move,
  onHook,
  onSeen,
  type Change,
  type Step,
  type TurnEnd,
  type View,
} from '../core/watch.ts'
import { describeAsk, isSameAsk, withoutAsk } from '../core/ask.ts'
import { createAnswers, type Answers } from './answers.ts'
import { type AgentEnd, endOfFailure, endOfGone, LIMITED, type TranscriptEnd } from './agent-end.ts'
import { chooseOption } from './deliver.ts'
import { seenOf, stillText, type Look } from './look.ts'
import type { Pane } from './pane.ts'
import { neutralQuestion } from './prompt.ts'
import { createSayer } from './sayer.ts'
import type { SessionStatus } from './session-file.ts'

export type WatcherOptions = {
  pane: Pane
  /** When the attempt began; deadlines count from here. */
  startedAt: number
  markers: Markers & { unmarked: 'fail' | 'succeed'; nudges: number }
  deadlines: Deadlines
  /** How long a permission request is held for an answer from outside the window. */
  holdMs: number
  clock: Clock
  logger: Logger
  /** Stores a change before anything is done about it. */
  record: (change: Change) => void
  readSession: () => SessionStatus | null
  readTranscript: (failure: { error: string; message: string } | null) => Promise<TranscriptEnd>
  /** The exit status the start script left, or null while there is none. */
  readExit: () => Promise<number | null>
  /** What is known of a program that ended by itself, as a sentence: that it ran out of memory. */
  cause?: () => string | null
  /** True when its guard ended it, because its lease was not renewed in time. */
  fenced?: () => boolean
  /** Brings every event that is in the spool by now to `onHookEvents`. */
  readSpool: () => Promise<void>
  /** It goes on with an old session: until its first prompt, what is on its screen is the past. */
  resumed: boolean
  /** Of an agent that is taken back after a restart: its stored events, oldest first, and how long it was busy. */
  taken: {
    past: Iterable<HookEvent>
    busyMs: number
    /** The state as it was stored last. */
    stored: { state: AgentState; waitKind: WaitKind | null }
  } | null
}

/**
 * Watches one agent in one window until its attempt is over. Everything that happens to it passes through
 * one queue, so two pieces of news never cross; nothing is decided after `over` has settled.
 */
export type Watcher = {
  view: () => View
  /** The newest screen that was read. */
  screen: () => string
  onHookEvents: (events: HookEvent[]) => void
  onLook: (look: Look) => void
  answers: Answers
  /** Ends the attempt from outside: cancel, drain, a lost lease. */
  end: (end: AgentEnd) => void
  over: Promise<AgentEnd>
}

const IDLE_CONFIRM_MS = 1000
/** Looks come at most this far apart; a longer gap means that the machine slept or this process was stopped. */
const LOOK_GAP_MS = 15_000

export function createWatcher(options: WatcherOptions): Watcher {
  const { pane, clock, markers, logger } = options
  const stop = new AbortController()
  const over = Promise.withResolvers<AgentEnd>()
  let view = initialView(options.startedAt)
  let screen = ''
  let still = ''
  let busyMs = options.taken?.busyMs ?? 0
  let lastLookAt = clock()
  let nudges = 0
  let lastMessage = ''
  /** Where the newest end of a turn was read. */
  let told: EvidenceSource = 'hook'
  let queue: Promise<void> = Promise.resolve()
  /** Hook events that came and were not applied yet; each leaves only after its change was stored. */
  const news: HookEvent[] = []

  function post(work: () => Promise<void>): void {
    queue = queue.then(async () => {
      if (stop.signal.aborted) return
      try {
        await work()
      } catch (err) {
        logger.error({ err }, 'watching an agent failed for a moment')
      }
    })
  }

  // Every piece of news: first what the hooks said before it, and in the end what all of it means.
  function hear(work: () => Promise<void>): void {
    post(async () => {
      applyNews()
      await work()
      if (!stop.signal.aborted) await decide()
    })
  }

  function applyNews(): void {
    for (let event = news[0]; event !== undefined; event = news[0]) {
      told = 'hook'
      // Whatever was due to be said was about the turn before.
      if (event.payload.hook_event_name === 'UserPromptSubmit') {
        sayer.forget()
      }
      apply(understood(event))
      news.shift()
    }
  }

  /** One that brings out a fault of ours says nothing: kept, it would be the last one that this agent ever said. */
  function understood({ payload, at }: Pick<HookEvent, 'payload' | 'at'>): Step {
    try {
      return onHook(view, payload, at)
    } catch (err) {
      logger.error({ err, event: payload.hook_event_name }, 'a hook event could not be understood')
      return { view, change: null }
    }
  }

  function apply(step: Step): void {
    // First, because it may throw on a full disk: the next piece of news then tries again.
    if (step.change !== null) options.record(step.change)
    view = step.view
    answers.follow()
  }

  function moveBy(
    cue: Parameters<typeof move>[2],
    reason: string,
    evidence = '',
    more: { waitKind?: WaitKind; source?: EvidenceSource } = {},
  ): void {
    apply(move(view, clock(), cue, { reason, evidence, source: 'supervisor', ...more }))
  }

  function finish(end: AgentEnd): void {
    if (stop.signal.aborted) return
    stop.abort()
    answers.release()
    over.resolve(end)
  }

  function settle(cue: 'done' | 'failed', outcome: Outcome, kind: string, error: string | null): void {
    moveBy(cue, error ?? 'It said that the task is done.', lastMessage.slice(-600), { source: told })
    finish({ outcome, kind, error, message: lastMessage, retryAfterMs: null })
  }

  // What the end of a turn means. Runs after every piece of news.
  async function decide(): Promise<void> {
    const { turnEnd } = view
    if (view.state === 'limited') return decideFailure(await options.readTranscript(null), LIMITED)
    if (turnEnd === null || isOver(view.state)) return
    if (turnEnd.kind === 'failure') return decideFailure(await options.readTranscript(turnEnd), turnEnd)
    if (sayer.isBusy() || view.state === 'waiting') return
    if (turnEnd.background.length > 0) {
      // Done, or neither: it wakes by itself when its background work ends. Anything else is for now.
      const { kind } = readEnding(turnEnd.message, markers)
      return kind === 'error' || kind === 'asks' ? decideMessage(turnEnd.message) : undefined
    }
    if (!(await isIdle())) {
      // A Stop hook of the user's own made the agent go on; its next Stop will tell.
      view = { ...view, turnEnd: null }
      return
    }
    let { message } = turnEnd
    if (message === '') {
      const fromTranscript = await options.readTranscript(null)
      if (fromTranscript.kind === 'stop') message = fromTranscript.message
    }
    decideMessage(message)
  }

  function decideMessage(message: string): void {
    lastMessage = message
    const ending = readEnding(message, markers)
    switch (ending.kind) {
      case 'done':
        return settle('done', 'succeeded', 'done', null)
      case 'error':
        return settle(
          'failed',
          'failed_permanent',
          'agent_error',
          ending.reason || 'The agent gave no reason.',
        )
      case 'asks':
        return moveBy('asked', `It asks: ${lastLine(message)}`, message.slice(-600), {
          waitKind: 'question',
          source: told,
        })
      case 'unmarked':
        if (nudges < markers.nudges) {
          nudges++
          sayer.owe(neutralQuestion(markers))
          return sayer.say()
        }
        if (markers.unmarked === 'succeed') return settle('done', 'succeeded', 'unmarked', null)
        return settle(
          'failed',
          'failed_permanent',
          'unmarked',
          `The agent ended without ${markers.done} or ${markers.error}, also when asked.`,
        )
    }
  }

  function decideFailure(transcript: TranscriptEnd, turnEnd: TurnEnd & { kind: 'failure' }): void {
    const { cue, reason, evidence, end, message } = endOfFailure(transcript, turnEnd, screen, clock())
    lastMessage = message
    moveBy(cue, reason, evidence, { source: told })
    finish(end)
  }

  async function isIdle(): Promise<boolean> {
    const until = performance.now() + IDLE_CONFIRM_MS
    for (;;) {
      const session = options.readSession()
      if (session === null || session.status !== 'busy') return true
      if (performance.now() > until) return false
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
  }

  async function look(at: Look): Promise<void> {
    const gapMs = Math.max(0, at.at - lastLookAt)
    const sinceMs = Math.min(gapMs, LOOK_GAP_MS)
    lastLookAt = at.at
    // While everything stood still, the agent did too.
    view = { ...view, activeAt: view.activeAt + gapMs - sinceMs }
    if (at.screen !== null) screen = at.screen
    if (!at.exists || at.dead) return gone(at)
    const paused = at.attached || view.state === 'waiting'
    if (!paused) busyMs += sinceMs
    if (at.attached) view = { ...view, activeAt: at.at }
    // Its time is up all the same where what it shows brings out a fault of ours, or cannot be stored now.
    await readShown(at).catch((err: unknown) =>
      logger.error({ err }, 'what an agent shows could not be read'),
    )
    if (view.turnEnd !== null && !at.attached) sayer.say()
    if (!at.attached) checkDeadlines(at.at)
  }

  async function readShown(at: Look): Promise<void> {
    const nowStill = stillText(screen)
    const moved = nowStill !== still
    still = nowStill
    const sighting = readScreen(screen)
    if (sighting.dialog?.kind === 'trust' && !at.attached) {
      // The project is trusted, or its task would not run; Claude Code itself keeps that answer.
      await chooseOption(pane, ['trust'], (label) => /^yes\b/i.test(label))
    }
    const seen = seenOf(options.readSession(), at.title, sighting, moved)
    // What cannot be told is kept to be looked at.
    const evidence = seen.kind === 'unknown' ? `${seen.evidence}\n${screen.trimEnd()}` : seen.evidence
    const isPast = options.resumed && view.prompts === 0 && seen.kind !== 'waiting'
    if (!isPast) apply(onSeen(view, { ...seen, evidence }, at.at))
    if (isQuietlyIdle(view, at.at)) await decideQuietEnd()
  }

  // Idle, and no hook said why: Escape was pressed in the window, or a Stop was lost.
  async function decideQuietEnd(): Promise<void> {
    const end = await options.readTranscript(null)
    told = 'transcript'
    view = { ...view, doubt: null }
    if (end.kind === 'stop') {
      view = {
        ...view,
        asks: [],
        openTools: [],
        turnEnd: { kind: 'stop', message: end.message, background: [] },
      }
    } else if (end.kind === 'failure') {
      view = { ...view, turnEnd: { kind: 'failure', error: end.error, message: end.message } }
    } else if (view.prompts > 0) {
      view = { ...view, asks: [], openTools: [] }
      moveBy('asked', 'Its turn was interrupted in the window; send a text to go on.', screen.slice(-600), {
        waitKind: 'dialog',
        source: 'screen',
      })
    }
  }

  async function gone(at: Look): Promise<void> {
    const status = await options.readExit()
    // It may have said how its work ended just before.
    await options.readSpool()
    applyNews()
    await decide()
    if (stop.signal.aborted) return
    const { cue, reason, evidence, end } = endOfGone(at, status, {
      fenced: options.fenced?.() === true,
      cause: options.cause?.() ?? null,
      screen,
    })
    moveBy(cue, reason, evidence)
    finish(end)
  }

  function checkDeadlines(at: number): void {
    const { turnEnd } = view
    const said = turnEnd?.kind === 'stop' ? readEnding(turnEnd.message, markers).kind : null
    const waitsForOwn = turnEnd?.kind === 'stop' && turnEnd.background.length > 0 && said !== 'done'
    const sentence = passedDeadline(view, at, busyMs, options.deadlines, waitsForOwn)
    if (sentence === null || isOver(view.state)) return
    if (turnEnd?.kind === 'stop' && said === 'done') {
      // It said it is done and only a background process, a development server say, is left.
      lastMessage = turnEnd.message
      return settle('done', 'succeeded', 'done', null)
    }
    moveBy('deadline', sentence, screen.slice(-600))
    finish({
      outcome: 'failed_permanent',
      kind: 'timeout',
      error: sentence,
      message: lastMessage,
      retryAfterMs: null,
    })
  }

  /** What came while no daemon ran has moved the state: the record says so, too. */
  function storeDifference(stored: { state: AgentState; waitKind: WaitKind | null }): void {
    const { state: to, waitKind, reason } = view
    if (isOver(stored.state) || (to === stored.state && waitKind === stored.waitKind)) return
    const cue = to === 'waiting' ? 'asked' : to === 'working' ? 'active' : 'opened'
    const evidence = 'Its hook events were read again after a restart.'
    options.record({ from: stored.state, to, waitKind, cue, reason, source: 'supervisor', evidence })
  }

  const sayer = createSayer({ pane, prompts: () => view.prompts, over: stop.signal, logger })
  const answers = createAnswers({
    pane,
    view: () => view,
    screen: () => screen,
    deliver: sayer.deliver,
    clock,
    answered: (ask, reason) => {
      const asks = ask === null ? view.asks.slice(1) : withoutAsk(view.asks, ask)
      view = { ...view, asks, turnEnd: null }
      if (asks.length === 0) moveBy('active', reason)
    },
    holdMs: options.holdMs,
    unanswered: (ask) => {
      const { state, waitKind, asks } = view
      if (state !== 'waiting' || waitKind === null || asks[0] === undefined || !isSameAsk(asks[0], ask))
        return
      moveBy('asked', `Nobody answered in time; its dialog stays in the window: ${describeAsk(ask)}`, '', {
        waitKind,
      })
    },
  })

  if (options.taken === null) {
    post(async () => moveBy('opened', 'Claude Code is starting.'))
  } else {
    // The events are the truth about the past, so its states are computed again and not stored again.
    const { past, stored } = options.taken
    view = move(view, options.startedAt, 'opened', {
      reason: 'It was taken back.',
      source: 'supervisor',
      evidence: '',
    }).view
    for (const { payload, at } of past) {
      view = understood({ payload, at }).view
      if (payload.prompt === neutralQuestion(markers)) nudges++
    }
    view = { ...view, activeAt: clock() }
    hear(async () => storeDifference(stored))
  }

  return {
    view: () => view,
    screen: () => screen,
    onHookEvents: (events) => {
      news.push(...events)
      hear(async () => undefined)
    },
    onLook: (at) => hear(() => look(at)),
    answers,
    end: (end) =>
      post(async () => {
        try {
          moveBy('exited', end.error ?? 'It was ended.')
        } finally {
          finish(end)
        }
      }),
    over: over.promise,
  }
}

/** True while the attempt occupies a slot: a waiting agent does not. */
export function occupiesSlot(state: AgentState): boolean {
  return state !== 'waiting' && !isOver(state)
}

function lastLine(message: string): string {
  const line = message.trim().split('\n').at(-1)?.trim() ?? ''
  return clip(line, 200)
}
