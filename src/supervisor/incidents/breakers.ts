import type { AgentEnd } from '../../agent/agent-end.ts'
import {
  afterAttempt,
  allowance,
  type Allowance,
  type Breaker,
  type BreakerNews,
  type BreakerRules,
  CLOSED_BREAKER,
  concernsFleet,
  isPausing,
  probing,
  readBreaker,
} from '../../core/incident/breaker.ts'
import type { Clock } from '../../core/clock.ts'
import type { Notes } from '../../store/notes.ts'
import type { Hold } from '../claims/dispatcher.ts'
import type { Recorder } from './recorder.ts'

/** Breakers of the fleet, of each project and of the login; they outlive the daemon. */
export type Breakers = {
  /** Takes in how an attempt ended. */
  heard: (task: { id: string; project: string }, end: AgentEnd) => void
  /** Which of these projects may be claimed from, and from which only one task, to try it. */
  gate: (projects: string[]) => { allow: Allowance['allow']; free: string[]; probes: string[] }
  /** A task was claimed: where only one was allowed, it is the one. */
  claimed: (task: { id: string; project: string }) => void
  /** Why something is not claimed; those of a project name it. */
  holds: () => Hold[]
}

/** A refused login: 1 minute, doubled each time, at most 15. */
const LOGIN: BreakerRules = { failures: 1, windowMs: 3_600_000, pauseMs: 60_000, maxPauseMs: 15 * 60_000 }
const NOTE = 'breakers'

type Stored = { state: Breaker; error: string }

export function createBreakers(deps: {
  rules: BreakerRules
  notes: Notes
  recorder: Recorder
  isRunning: (taskId: string) => boolean
  clock: Clock
}): Breakers {
  const { notes, recorder, clock } = deps
  const breakers = new Map<string, Stored>()
  for (const [name, value] of Object.entries((notes.read(NOTE) ?? {}) as Record<string, Partial<Stored>>)) {
    breakers.set(name, { state: readBreaker(value?.state), error: value?.error ?? '' })
  }

  const get = (name: string): Stored => breakers.get(name) ?? { state: CLOSED_BREAKER, error: '' }
  const rulesOf = (name: string): BreakerRules => (name === 'login' ? LOGIN : deps.rules)
  const now = (name: string): Allowance => allowance(get(name).state, clock(), rulesOf(name), deps.isRunning)

  function put(name: string, stored: Stored): void {
    if (stored.state === CLOSED_BREAKER) breakers.delete(name)
    else breakers.set(name, stored)
    notes.write(NOTE, Object.fromEntries(breakers))
  }

  function hear(name: string, news: BreakerNews, error: string): void {
    const before = get(name)
    const counts = name === 'fleet' ? concernsFleet : undefined
    const state = afterAttempt(before.state, news, rulesOf(name), counts)
    if (state === CLOSED_BREAKER && before.state === CLOSED_BREAKER) return
    put(name, { state, error: news.verdict === 'failure' ? error : before.error })
    if (state.openUntil === null) return recorder.close(`breaker:${name}`, 'An agent came through again.')
    if (state.openUntil === before.state.openUntil) return
    recorder.open({
      kind: name === 'login' ? 'login_refused' : 'breaker',
      key: `breaker:${name}`,
      what: sentenceOf(name, state),
      evidence: error,
      action: 'Its tasks wait; one at a time is tried.',
      alert: true,
    })
  }

  return {
    heard({ id, project }, end) {
      const error = end.error ?? ''
      const news = (verdict: BreakerNews['verdict']) => ({
        taskId: id,
        project,
        kind: end.kind,
        at: clock(),
        verdict,
      })
      hear('login', news(loginVerdict(end)), error)
      hear(`project:${project}`, news(verdictOf(end)), error)
      hear('fleet', news(verdictOf(end)), error)
    },
    gate(projects) {
      const all = [now('login').allow, now('fleet').allow]
      const allow = all.includes('none') ? 'none' : all.includes('probe') ? 'probe' : 'all'
      const of = (wanted: Allowance['allow']) =>
        projects.filter((project) => now(`project:${project}`).allow === wanted)
      return { allow, free: of('all'), probes: of('probe') }
    },
    claimed({ id, project }) {
      for (const name of ['login', 'fleet', `project:${project}`]) {
        const { state, error } = get(name)
        if (state.openUntil !== null && now(name).allow === 'probe')
          put(name, { state: probing(state, id), error })
      }
    },
    holds: () =>
      [...breakers].flatMap(([name, { state, error }]) => {
        if (state.openUntil === null) return []
        const probe = isPausing(state, clock(), rulesOf(name))
          ? `The next one is tried at ${new Date(state.openUntil).toISOString()}.`
          : 'One task is tried.'
        return [
          {
            kind: name === 'login' ? 'login' : 'breaker',
            sentence: [sentenceOf(name, state), error, probe, remedyOf(name)].filter(Boolean).join(' '),
            until: state.openUntil,
            ...(name.startsWith('project:') ? { project: name.slice('project:'.length) } : {}),
          },
        ]
      }),
  }
}

function sentenceOf(name: string, { row }: Breaker): string {
  if (name === 'login') return "Claude Code's login was refused."
  const tasks = `${row.length} tasks failed one after the other`
  return name === 'fleet' ? `${tasks}; nothing is begun.` : `${tasks} in the project ${name.slice(8)}.`
}

function remedyOf(name: string): string {
  return name === 'login'
    ? 'Log in (run claude), or mend the key in [claude.env] and run: ccm restart'
    : 'See: ccm incidents'
}

function verdictOf({ outcome, kind }: AgentEnd): BreakerNews['verdict'] {
  if (outcome === 'succeeded') return 'success'
  if (kind === 'start') return 'failure'
  return outcome === 'failed' || outcome === 'failed_permanent' ? 'failure' : 'neutral'
}

/** Only what came from the model proves that the login works. */
function loginVerdict({ outcome, kind }: AgentEnd): BreakerNews['verdict'] {
  if (kind === 'auth') return 'failure'
  return outcome === 'succeeded' || kind === 'agent_error' ? 'success' : 'neutral'
}
