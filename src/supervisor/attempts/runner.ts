import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { readSnapshot, type Snapshot } from '../../agent/changes.ts'
import type { Claude } from '../../agent/claude.ts'
import { attemptFiles, cleanLaunch } from '../../agent/launch.ts'
import { decidedEnd, endedBy, type AgentEnd } from '../../agent/agent-end.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { CcmError, messageOf } from '../../core/errors.ts'
import type { HookEvent } from '../../core/agent/hook-event.ts'
import type { WindowAnswer } from '../../core/permission/permission-request.ts'
import type { Lease } from '../../core/task/queue.ts'
import type { Redactor } from '../../core/redact.ts'
import type { Task } from '../../core/task/task.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { HookEvents } from '../../store/hook-events.ts'
import type { PermissionRules } from '../../store/permission-rules.ts'
import type { Project, Projects } from '../../store/projects.ts'
import type { TmuxServer } from '../../tmux/server.ts'
import type { BlackBox } from '../incidents/black-box.ts'
import type { Ingest } from '../ingest/ingest.ts'
import { bestEffort, createOutcomes } from './outcome.ts'
import { pastOf } from './past.ts'
import { forgetAgent, newAgent, spoolOf, transcriptOf, type RunningAgent } from './running-agent.ts'
import { watchAgent } from './watch-agent.ts'
import { conclude } from './resume.ts'
import type { Settings } from './settings.ts'
import type { Workspaces } from '../workspaces/workspaces.ts'
import { newAttempt, startFailure, startWindow } from './start-window.ts'
import { untilEnded } from './until-ended.ts'

/** Runs attempts from their claim to their outcome. */
export type Runner = {
  agents: Map<string, RunningAgent>
  /**
   * Runs a claimed task to its end; the outcome is in the outbox when it resolves. Rejects only when the attempt
   * could not be recorded: then nothing of it exists.
   */
  start: (task: Task) => Promise<void>
  /** Goes on watching an agent of an earlier daemon; a window that is gone is settled by what it left. Never rejects. */
  adopt: (task: Task, attempt: Attempt, panePid: number | null) => Promise<void>
  /** Ends an attempt for a reason from outside. False when it is not ours. */
  end: (taskId: string, end: AgentEnd) => boolean
  /** Ends every agent, so that its task is queued again. One still there after twice `exitMs` and 5 s is left to the next daemon. */
  endAll: () => Promise<void>
  onEvents: (lease: Lease, events: HookEvent[]) => void
}

/** What attempts are run with, and who hears of them. */
export type RunnerDeps = {
  settings: Settings
  tmux: TmuxServer
  attempts: Attempts
  hookEvents: HookEvents
  projects: Projects
  rules: PermissionRules
  ingest: () => Ingest
  /** Told of all that reads what an agent, or its task, brings along. */
  blackBox: BlackBox
  redactor: Redactor
  findClaude: () => Promise<Claude>
  workspaces: Workspaces
  clock: Clock
  logger: Logger
  /** Something of this task was stored. */
  notify: (taskId: string, kind: 'state' | 'task') => void
  /** Takes in what the agent used since the last time. Never rejects. */
  spend: (agent: RunningAgent) => Promise<void>
  /** False: a usage limit fails its task. */
  park: boolean
  /** The agent of a task has its window. */
  started: (task: Task, attempt: Attempt) => void
  /** An agent works for the first time, so long after its claim. */
  working: (tookMs: number) => void
  /** A permission request was answered in the window. Throws what keeps that from being stored. */
  answeredInWindow: (agent: RunningAgent, answer: WindowAnswer) => void
  /** The attempt's outcome is in the outbox. */
  settled: (task: Task, attempt: Attempt, end: AgentEnd) => void
}

/** Runs attempts: folder, window, watch, end, result, outbox; each step announced in the database first. */
export function createRunner(deps: RunnerDeps): Runner {
  const { settings, tmux, attempts, clock } = deps
  const agents = new Map<string, RunningAgent>()
  const outcomes = createOutcomes(deps)

  async function start(task: Task): Promise<void> {
    const project = deps.projects.byName(task.project)
    const attempt = newAttempt(task, project, settings, clock())
    const agent = newAgent(task, attempt)
    agents.set(task.id, agent)
    if (project !== null) deps.workspaces.reserve(project, task)
    try {
      attempts.open(attempt)
    } catch (error) {
      forget(agent)
      throw error
    }
    deps.notify(task.id, 'task')
    await orBroken(agent, () => launch(agent, project))
  }

  async function launch(agent: RunningAgent, project: Project | null): Promise<void> {
    const { task, attempt } = agent
    let started: { panePid: number; before: Snapshot }
    try {
      const { findClaude, workspaces } = deps
      const windowName = nextWindowName(task.project)
      const from = {
        settings,
        tmux,
        attempts,
        rules: deps.rules,
        ingest: deps.ingest(),
        findClaude,
        workspaces,
      }
      const how = {
        task,
        attempt,
        project,
        windowName,
        spool: spoolOf(attempt),
        signal: agent.stop.signal,
        onStep: (sentence: string) => recordStep(agent, sentence),
      }
      started = await deps.blackBox.meanwhile(attempt, () => startWindow(from, how))
    } catch (err) {
      const code = err instanceof CcmError ? err.code : 'INTERNAL'
      deps.logger.error(
        { err, code, taskId: task.id, attempt: task.attempt },
        'an agent could not be started',
      )
      agent.ended = agent.endEarly ?? startFailure(err)
      // First: a tmux that stands still opens the window when it goes on, and then nobody looks for an agent in it.
      bestEffort(() => cleanLaunch(attempt.folder))
      await untilEnded(deps, agent)
      await deps.ingest().remove(spoolOf(attempt))
      return settle(agent, null, agent.ended)
    }
    deps.started(task, attempt)
    await settle(agent, started.before, await watchAgent(deps, agent, started.panePid, null))
  }

  /** For whoever wonders why no window is there yet. */
  function recordStep({ task, attempt }: RunningAgent, reason: string): void {
    const { attempt: number, state, stateAt } = attempt
    const change = {
      from: state,
      to: state,
      stateAt,
      cue: 'setup',
      reason,
      source: 'supervisor' as const,
      evidence: '',
    }
    attempts.recordState({ ...change, taskId: task.id, attempt: number, at: clock(), waitKind: null })
    deps.notify(task.id, 'state')
  }

  async function adopt(task: Task, attempt: Attempt, panePid: number | null): Promise<void> {
    const agent = newAgent(task, attempt)
    agents.set(task.id, agent)
    deps.workspaces.takeBack(attempt)
    await orBroken(agent, async () => {
      const { before, watched } = await deps.blackBox.meanwhile(attempt, () => takeBack(agent, panePid))
      await settle(agent, before, await watched)
    })
  }

  /** Watches it again; what came of it is told by `watched`. */
  async function takeBack(
    agent: RunningAgent,
    panePid: number | null,
  ): Promise<{ before: Snapshot | null; watched: Promise<AgentEnd> }> {
    const { attempt } = agent
    const spool = spoolOf(attempt)
    // What it reported while no daemon ran may decide everything: that belongs to its past.
    deps.ingest().add(spool)
    await deps.ingest().read(spool)
    const before = await readSnapshot(attemptFiles(attempt.folder).before)
    const past = pastOf(attempt, deps)
    agent.endEarly ??= decidedEnd(past.changes)
    return { before, watched: watchAgent(deps, agent, panePid, past) }
  }

  async function settle(agent: RunningAgent, before: Snapshot | null, ended: AgentEnd): Promise<void> {
    const end = await deps.blackBox.meanwhile(agent.attempt, () => storeEnd(agent, before, ended))
    deps.blackBox.forget(agent.task.id)
    forget(agent)
    deps.settled(agent.task, agent.attempt, end)
    deps.notify(agent.task.id, 'task')
  }

  async function storeEnd(agent: RunningAgent, before: Snapshot | null, ended: AgentEnd): Promise<AgentEnd> {
    await deps.spend(agent)
    const { path: transcriptPath, earlier } = transcriptOf(agent)
    const { end, resume } = await conclude(agent.task, agent.attempt, ended, {
      hookEvents: deps.hookEvents,
      transcriptPath: earlier[0] ?? transcriptPath,
      park: deps.park,
      clock,
      random: Math.random,
    })
    await outcomes.store(agent.task, agent.attempt, end, { before, transcriptPath, earlier, resume })
    return end
  }

  const forget = (agent: RunningAgent): void => forgetAgent(agents, deps.workspaces.leave, agent)

  /** A fault of our own costs one attempt, never the daemon with all other agents; no process stays unwatched. */
  async function orBroken(agent: RunningAgent, work: () => Promise<void>): Promise<void> {
    const { task, attempt } = agent
    try {
      await work()
    } catch (err) {
      deps.logger.error({ err, taskId: task.id, attempt: task.attempt }, 'an attempt broke')
      await untilEnded(deps, agent)
      await deps
        .ingest()
        .remove(spoolOf(attempt))
        .catch(() => undefined)
      const error = `ccm failed at this attempt: ${messageOf(err)}`
      const broken: AgentEnd = { outcome: 'failed', kind: 'internal', error, message: '', retryAfterMs: null }
      // What the agent came to stands, whatever went wrong after it.
      const end = agent.ended ?? broken
      const log = (again: unknown) =>
        deps.logger.error({ err: again, taskId: task.id }, 'an outcome could not be stored')
      await outcomes.storeBare(attempt, end).catch(log)
      forget(agent)
      try {
        deps.settled(task, attempt, end)
      } catch (again) {
        log(again)
      }
    }
  }

  function nextWindowName(project: string): string {
    const taken = new Set([...agents.values()].map(({ attempt }) => attempt.windowName))
    for (let number = 1; ; number++) {
      const name = `agent-${project}-${number}`
      if (!taken.has(name)) return name
    }
  }

  /** Claude Code names the session that it works in at its start; it may be another than it was told to resume. */
  function noteSession(attempt: Attempt, { hookEventName, claudeSessionId, payload }: HookEvent): void {
    if (hookEventName !== 'SessionStart' || payload['source'] === 'clear') return
    if (claudeSessionId === null || claudeSessionId === attempt.claudeSessionId) return
    // It holds for this daemon also where it cannot be stored.
    attempt.claudeSessionId = claudeSessionId
    attempts.setSession(attempt, claudeSessionId, attempt.resumed)
  }

  function end(taskId: string, how: AgentEnd): boolean {
    const agent = agents.get(taskId)
    if (agent === undefined) return false
    agent.endEarly = how
    agent.stop.abort()
    agent.watcher?.end(how)
    return true
  }

  return {
    agents,
    start,
    adopt,
    end,
    async endAll() {
      for (const id of agents.keys()) end(id, endedBy('drain', 'ccm was stopped; the task is queued again.'))
      const until = performance.now() + 2 * settings.exitMs + 5000
      while (agents.size > 0 && performance.now() < until) await sleep(50)
      for (const { task, attempt, left } of agents.values())
        deps.logger.error(
          { taskId: task.id, attempt: attempt.attempt, ...(left === null ? {} : { err: { message: left } }) },
          'an agent did not end in time; the next daemon ends it',
        )
    },
    onEvents(lease, events) {
      const agent = agents.get(lease.taskId)
      if (agent?.attempt.attempt !== lease.attempt) return
      // Before anything is stored, which may fail: nobody tells it again.
      if (agent.watcher === null) agent.early.push(...events)
      else agent.watcher.onHookEvents(events)
      for (const event of events) noteSession(agent.attempt, event)
    },
  }
}
