import type { Logger } from 'pino'
import { isOver, type Cue } from '../core/agent/agent-state.ts'
import type { EvidenceSource } from '../core/agent/attempt.ts'
import type { Clock } from '../core/clock.ts'
import { neverBegan, passedDeadline, type Deadlines } from '../core/agent/deadline.ts'
import { isQuietlyIdle, isUnheardStart, onSeen } from '../core/agent/doubt.ts'
import type { HookEvent } from '../core/agent/hook-event.ts'
import type { WindowAnswer } from '../core/permission/permission-request.ts'
import { readEnding, type Markers } from '../core/record/marker.ts'
import { initialView, isIdle, type Change, type View } from '../core/agent/view.ts'
import { onAnswered, onUnanswered, onUnconfirmed } from '../core/agent/watch.ts'
import {
  endOfDone,
  endOfGone,
  endOfTime,
  type AgentEnd,
  type ReadEnd,
  type TranscriptEnd,
} from './agent-end.ts'
import { createAnswers, type Answers } from './answers.ts'
import { createBelief } from './belief.ts'
import { chooseOption } from './deliver.ts'
import { changeSince, hear, hearPast, type StoredPast } from './heard.ts'
import { createLookClock, createShown, type Look } from './look.ts'
import type { Pane } from './pane.ts'
import { neutralQuestion } from './prompt.ts'
import { createSayer } from './sayer.ts'
import type { SessionStatus } from './session-file.ts'
import { createTurnJudge } from './turn-judge.ts'
import { createWindowAnswers, type WindowAnswers } from './window-answers.ts'

export type WatcherOptions = {
  pane: Pane
  /** When the attempt was claimed; its deadlines count from its window. */
  startedAt: number
  markers: Markers & { unmarked: 'fail' | 'succeed'; nudges: number }
  deadlines: Deadlines
  /** How long a permission request is held for an answer from outside the window. */
  holdMs: number
  clock: Clock
  logger: Logger
  /** Stores a change before anything is done about it. */
  record: (change: Change) => void
  /** Stores that so much more time counts for no deadline, besides what it waits for people. Never throws. */
  paused: (ms: number) => void
  /** Stores what a person answered in the window, once, however often it is told. */
  answeredInWindow: (answer: WindowAnswer) => void
  readSession: () => SessionStatus | null
  readTranscript: (failure: { error: string; message: string } | null) => Promise<TranscriptEnd>
  /** The exit status the start script left, or null while there is none. */
  readExit: () => Promise<number | null>
  /** What is known of a program that ended by itself, as a sentence: that it ran out of memory. */
  cause?: () => string | null
  /** True when its guard ended it, because its lease was not renewed in time. */
  fenced?: () => boolean
  /** Runs what reads the agent's own words, so that a fault of ours which they bring out can be told to be theirs. */
  atWork?: <T>(work: () => T) => T
  /** Brings every event that is in the spool by now to `onHookEvents`. */
  readSpool: () => Promise<void>
  /** It goes on with an old session: until its first prompt, what is on its screen is the past. */
  resumed: boolean
  /** Of an agent that is taken back after a restart; null for a new one. */
  taken: StoredPast | null
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
  requestOf: WindowAnswers['requestOf']
  onLook: (look: Look) => void
  answers: Answers
  /** Ends the attempt from outside: cancel, drain, a lost lease. */
  end: (end: AgentEnd) => void
  over: Promise<AgentEnd>
}

export function createWatcher(options: WatcherOptions): Watcher {
  const { pane, clock, markers, logger, atWork = (work) => work() } = options
  const stop = new AbortController()
  const over = Promise.withResolvers<AgentEnd>()
  const shown = createShown()
  const sinceLook = createLookClock(clock())
  const inWindow = createWindowAnswers(options.answeredInWindow)
  const known =
    options.taken === null
      ? { view: initialView(clock()), busyMs: 0, nudges: 0, isAsked: false }
      : hearPast(
          { ...options.taken, past: inWindow.heard(options.taken.past) },
          { startedAt: options.startedAt, now: clock(), question: neutralQuestion(markers), logger },
        )
  const belief = createBelief(known.view, clock, options.record, () => answers.follow())
  const { view } = belief
  let { busyMs } = known
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
  async function understand(work: () => Promise<void>): Promise<void> {
    applyNews()
    await work()
    inWindow.flush()
    if (!stop.signal.aborted) await judge.decide()
  }

  function applyNews(): void {
    for (let event = news[0]; event !== undefined; event = news[0]) {
      judge.heard(event.payload)
      belief.apply(atWork(() => hear(view(), event, logger)))
      inWindow.hear(event)
      news.shift()
    }
  }

  function finish(end: AgentEnd): void {
    if (stop.signal.aborted) return
    stop.abort()
    answers.release()
    over.resolve(end)
  }

  function conclude({ cue, reason, evidence, end }: ReadEnd<Cue>, source: EvidenceSource): void {
    belief.move(cue, reason, evidence, { source })
    finish(end)
  }

  async function look(at: Look): Promise<void> {
    shown.take(at)
    if (!at.exists || at.dead) return gone(at)
    // Its time is up all the same where what it shows brings out a fault of ours, or cannot be stored now.
    await readShown(at).catch((err: unknown) =>
      logger.error({ err }, 'what an agent shows could not be read'),
    )
    if (view().turnEnd !== null && !at.attended) sayer.say()
  }

  function passTime(at: Look): void {
    const { ranMs, stoodStillMs } = sinceLook(at.at)
    const { activeAt, stateAt, doubt } = view()
    belief.correct({
      activeAt: at.attended ? at.at : Math.min(at.at, activeAt + stoodStillMs),
      // People may answer while this machine sleeps: only a clock that was set back moves it.
      stateAt: stateAt + Math.min(0, stoodStillMs),
      doubt: doubt === null ? null : { ...doubt, since: doubt.since + stoodStillMs },
    })
    if (view().state === 'waiting') {
      // It stood still at work, and began to wait as it woke.
      const atWorkMs = stoodStillMs - (at.at - stateAt)
      return atWorkMs > 0 ? options.paused(atWorkMs) : undefined
    }
    if (!at.attended) busyMs += ranMs
    const pausedMs = stoodStillMs + (at.attended ? ranMs : 0)
    // How long it was idle is told by its past.
    if (pausedMs !== 0 && !isIdle(view())) options.paused(pausedMs)
  }

  async function readShown(at: Look): Promise<void> {
    const session = options.readSession()
    const { seen, dialog } = atWork(() => shown.read(session, at.title))
    // That comes before a session begins; later only the agent's own words look like it. The project is trusted, or its
    // task would not run; Claude Code itself keeps that answer.
    if (dialog?.kind === 'trust' && session === null && view().prompts === 0 && !at.attended)
      await chooseOption(pane, ['trust'], (label) => /^yes\b/i.test(label))
    const isPast = options.resumed && view().prompts === 0 && seen.kind !== 'waiting'
    if (!isPast) belief.apply(onSeen(view(), seen, at.at))
    if (isUnheardStart(view(), at.at)) await judge.hearStart()
    if (isQuietlyIdle(view(), at.at)) await judge.decideQuietEnd()
  }

  async function gone(at: Look): Promise<void> {
    const status = await options.readExit()
    // It may have said how its work ended just before.
    await options.readSpool()
    applyNews()
    inWindow.flush()
    await judge.decide()
    await judge.decideLast()
    if (stop.signal.aborted) return
    const known = {
      fenced: options.fenced?.() === true,
      cause: options.cause?.() ?? null,
      screen: shown.screen(),
    }
    conclude(endOfGone(at, status, known), 'supervisor')
  }

  function checkDeadlines(at: number): void {
    const { turnEnd } = view()
    const said = turnEnd?.kind === 'stop' ? readEnding(turnEnd.message, markers).kind : null
    const waitsForOwn = turnEnd?.kind === 'stop' && turnEnd.background.length > 0 && said !== 'done'
    const sentence = passedDeadline(view(), at, busyMs, options.deadlines, waitsForOwn)
    if (sentence === null || isOver(view().state)) return
    if (turnEnd?.kind === 'stop' && said === 'done') {
      // It said it is done and only a background process, a development server say, is left.
      return conclude(endOfDone(turnEnd.message), judge.told())
    }
    const hasBegun = !neverBegan(view())
    const late = endOfTime(sentence, { message: judge.lastMessage(), screen: shown.screen(), hasBegun })
    try {
      conclude(late, 'supervisor')
    } finally {
      // On a full disk, too: until there is room again it would go on spending.
      finish(late.end)
    }
  }

  const sayer = createSayer({
    pane,
    prompts: () => view().prompts,
    turnEnd: () => view().turnEnd,
    unconfirmed: (before) =>
      post(() => understand(async () => belief.apply(onUnconfirmed(view(), before, clock())))),
    over: stop.signal,
    logger,
  })
  const judge = createTurnJudge(options, {
    nudges: known.nudges,
    isAsked: known.isAsked,
    belief,
    sayer,
    screen: shown.screen,
    interrupted: inWindow.interrupted,
    conclude,
  })
  const answers = createAnswers({
    pane,
    view,
    screen: shown.screen,
    deliver: sayer.deliver,
    clock,
    answered: (ask, reason) => belief.apply(onAnswered(view(), ask, reason, clock())),
    holdMs: options.holdMs,
    unanswered: (ask) => belief.apply(onUnanswered(view(), ask, clock())),
  })

  if (options.taken === null) {
    // What was done before its window, a setup say, is no time of the agent's.
    options.paused(clock() - options.startedAt)
    post(async () => belief.move('opened', 'Claude Code is starting.'))
  } else {
    const { stored } = options.taken
    belief.correct({ activeAt: clock() })
    post(() =>
      understand(async () => {
        const change = changeSince(stored, view())
        if (change !== null) options.record(change)
        await judge.hearUnheard()
      }),
    )
  }

  return {
    view,
    screen: shown.screen,
    onHookEvents: (events) => {
      news.push(...events)
      post(() => understand(async () => undefined))
    },
    onLook: (at) =>
      post(async () => {
        passTime(at)
        try {
          await understand(() => look(at))
        } finally {
          // Its time is up all the same where news of it cannot be stored now.
          if (!stop.signal.aborted && at.exists && !at.dead && !at.attended) checkDeadlines(at.at)
        }
      }),
    requestOf: inWindow.requestOf,
    answers,
    end: (end) =>
      post(async () => {
        try {
          belief.move('ended', end.error ?? 'It was ended.', end.kind)
        } finally {
          finish(end)
        }
      }),
    over: over.promise,
  }
}
