import { isOver, type Cue } from '../core/agent/agent-state.ts'
import { clipWords } from '../core/clip.ts'
import type { EvidenceSource } from '../core/agent/attempt.ts'
import type { Clock } from '../core/clock.ts'
import { readEnding, type Markers } from '../core/record/marker.ts'
import type { HookPayload } from '../core/agent/hook-event.ts'
import type { TurnEnd } from '../core/agent/view.ts'
import { endOfFailure, LIMITED, meaningOf, type ReadEnd, type TranscriptEnd } from './agent-end.ts'
import type { Belief } from './belief.ts'
import { neutralQuestion } from './prompt.ts'
import type { Sayer } from './sayer.ts'
import { isIdleSoon, type SessionStatus } from './session-file.ts'

/** Decides what the end of a turn means: the end of the attempt, a question to people, or one to the agent. */
export type TurnJudge = {
  /**
   * What is believed comes from hook events again, whatever a transcript said before. Where this is a prompt, what was
   * due to be said was about the turn before.
   */
  heard: (payload: HookPayload) => void
  /** To be called after every piece of news. */
  decide: () => Promise<void>
  /** Idle, and no hook said why: Escape was pressed in the window, or a Stop was lost. */
  decideQuietEnd: () => Promise<void>
  /** It is gone, and no event told of an end: where its transcript does, that counts. */
  decideLast: () => Promise<void>
  /** No hook said that an agent has its prompt: where its transcript has one, it works, and may be through. */
  hearStart: () => Promise<void>
  /**
   * For an agent that is taken back: the daemon before this one was killed just after it had asked, and no event says
   * so. What ended is the turn before.
   */
  hearUnheard: () => Promise<void>
  /** Where the newest end of a turn was read, and the last message that was judged. */
  told: () => EvidenceSource
  lastMessage: () => string
}

export function createTurnJudge(
  options: {
    markers: Markers & { unmarked: 'fail' | 'succeed'; nudges: number }
    readSession: () => SessionStatus | null
    readTranscript: (failure: { error: string; message: string } | null) => Promise<TranscriptEnd>
    clock: Clock
    startedAt: number
    resumed: boolean
  },
  of: {
    belief: Belief
    sayer: Sayer
    screen: () => string
    /** How often the agent was asked already, and whether an event tells of it. */
    nudges: number
    isAsked: boolean
    /** Its turn was broken off in the window. */
    interrupted: () => void
    conclude: (end: ReadEnd<Cue>, source: EvidenceSource) => void
  },
): TurnJudge {
  const { markers, clock } = options
  const { belief, sayer } = of
  const { view } = belief
  let { nudges } = of
  // That of an agent taken back may be judged already.
  const turnEnd = view().turnEnd
  let lastMessage = turnEnd?.kind === 'stop' ? turnEnd.message : ''
  let told: EvidenceSource = 'hook'

  async function decide(): Promise<void> {
    const { turnEnd } = view()
    if (view().state === 'limited') return decideFailure(await options.readTranscript(null), LIMITED)
    if (turnEnd === null || isOver(view().state)) return
    if (turnEnd.kind === 'failure') return decideFailure(await options.readTranscript(turnEnd), turnEnd)
    if (sayer.isBusy() || view().state === 'waiting') return
    if (turnEnd.background.length > 0) {
      // Done, or neither: it wakes by itself when its background work ends. Anything else is for now.
      const { kind } = readEnding(turnEnd.message, markers)
      return kind === 'error' || kind === 'asks' ? decideMessage(turnEnd.message) : undefined
    }
    if (!(await isIdleSoon(options.readSession))) {
      // A Stop hook of the user's own made the agent go on; its next Stop will tell.
      return belief.correct({ turnEnd: null })
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
    const meaning = meaningOf(message, markers, nudges < markers.nudges)
    if (meaning === 'unmarked') {
      nudges++
      sayer.owe(neutralQuestion(markers))
      sayer.say()
    } else if ('asks' in meaning) {
      belief.move('asked', meaning.asks, message, { waitKind: 'question', source: told })
    } else of.conclude(meaning, told)
  }

  function decideFailure(transcript: TranscriptEnd, turnEnd: TurnEnd & { kind: 'failure' }): void {
    const { message, ...end } = endOfFailure(transcript, turnEnd, of.screen(), clock())
    lastMessage = message
    of.conclude(end, told)
  }

  async function decideQuietEnd(): Promise<void> {
    const end = await options.readTranscript(null)
    told = 'transcript'
    belief.correct({ doubt: null })
    if (end.kind === 'stop') {
      const turnEnd = { kind: 'stop' as const, message: end.message, background: [] }
      belief.correct({ asks: [], openTools: [], turnEnd })
    } else if (end.kind === 'failure') {
      belief.correct({ turnEnd: { kind: 'failure', error: end.error, message: end.message } })
    } else if (view().prompts > 0) {
      belief.correct({ asks: [], openTools: [] })
      of.interrupted()
      const reason = 'Its turn was interrupted in the window; send a text to go on.'
      const evidence = of.screen()
      belief.move('asked', reason, evidence, { waitKind: 'dialog', source: 'screen' })
    }
  }

  async function hearStart(): Promise<void> {
    const end = await options.readTranscript(null)
    // Of one that goes on with a session the transcript has older prompts.
    const hasBegun = options.resumed
      ? end.promptAt >= options.startedAt
      : end.kind === 'failure' || end.prompt !== ''
    if (!hasBegun) return
    belief.correct({ prompts: 1 })
    const reason = 'It has its prompt; no event told of it.'
    belief.move('active', reason, end.kind === 'failure' ? end.message : clipWords(end.prompt, 600), {
      source: 'transcript',
    })
  }

  async function decideLast(): Promise<void> {
    if (isOver(view().state) || view().turnEnd !== null) return
    const end = await options.readTranscript(null)
    // What one says that goes on with a session may be of the attempt before.
    if (end.kind !== 'stop' || (options.resumed && end.promptAt < options.startedAt)) return
    const { kind } = readEnding(end.message, markers)
    if (kind !== 'done' && kind !== 'error') return
    told = 'transcript'
    decideMessage(end.message)
  }

  async function hearUnheard(): Promise<void> {
    const { turnEnd } = view()
    if (turnEnd?.kind !== 'stop' || of.isAsked) return
    const end = await options.readTranscript(null)
    if (end.kind === 'failure' || !end.prompt.includes(neutralQuestion(markers))) return
    nudges++
    told = 'transcript'
    belief.correct({
      turnEnd: end.kind === 'open' ? null : { kind: 'stop', message: end.message, background: [] },
    })
  }

  return {
    heard({ hook_event_name: name, prompt }) {
      told = 'hook'
      if (name !== 'UserPromptSubmit' || !sayer.forget()) return
      // A question that was dropped was not asked.
      if (prompt?.includes(neutralQuestion(markers)) !== true) nudges--
    },
    decide,
    decideQuietEnd,
    decideLast,
    hearStart,
    hearUnheard,
    told: () => told,
    lastMessage: () => lastMessage,
  }
}
