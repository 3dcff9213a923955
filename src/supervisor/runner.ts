import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { readFile, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { keepSnapshot, readSnapshot, type Snapshot, snapshotTree } from '../agent/changes.ts'
import type { Claude } from '../agent/claude.ts'
import { endAgent } from '../agent/end.ts'
import { createLiveUsage, type LiveUsage } from '../agent/live-usage.ts'
import { hasOwnLogin } from '../agent/environment.ts'
import { attemptFiles, cleanLaunch, prepareLaunch } from '../agent/launch.ts'
import type { Pane } from '../agent/pane.ts'
import { killTree } from '../agent/process-tree.ts'
import { collectResult, findTranscript } from '../agent/result.ts'
import { createSessionReader } from '../agent/session-file.ts'
import { readTranscriptEnd } from '../agent/transcript-end.ts'
import { type AgentEnd, createWatcher, type Watcher } from '../agent/watcher.ts'
import type { Attempt, StateChange } from '../core/attempt.ts'
import type { Clock } from '../core/clock.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import type { HookEvent } from '../core/hook-event.ts'
import type { Lease, Report } from '../core/queue.ts'
import type { Task } from '../core/task.ts'
import type { Attempts } from '../store/attempts.ts'
import type { HookEvents } from '../store/hook-events.ts'
import type { Project, Projects } from '../store/projects.ts'
import { listPanes } from '../tmux/pane.ts'
import type { TmuxServer } from '../tmux/server.ts'
import { killWindow, openWindow } from '../tmux/window.ts'
import type { Ingest } from './ingest.ts'
import { usableDirectory } from './intake.ts'
import { paneOf } from './pane-of.ts'
import type { Settings } from './settings.ts'

/** One attempt that this daemon runs or took back. `watcher` is null until its window exists. */
export type RunningAgent = {
  task: Task
  attempt: Attempt
  watcher: Watcher | null
  /** Set when the attempt has to end before its window exists. */
  endEarly: AgentEnd | null
  /** How the attempt ended, once that is decided. */
  ended: AgentEnd | null
  usage: LiveUsage | null
  /** Hook events that came before there was a watcher. */
  early: HookEvent[]
  startedAt: number
}

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
  onEvents: (lease: Lease, events: HookEvent[]) => void
}

export type RunnerDeps = {
  settings: Settings
  tmux: TmuxServer
  attempts: Attempts
  hookEvents: HookEvents
  projects: Projects
  ingest: () => Ingest
  findClaude: () => Promise<Claude>
  clock: Clock
  logger: Logger
  /** Something of this task was stored. */
  notify: (taskId: string, kind: 'state' | 'task') => void
  /** The attempt's outcome is in the outbox. */
  settled: (end: AgentEnd) => void
}

const STORE_RETRY_MS = 5000

/** Runs attempts: folder, window, watch, end, result, outbox; each step announced in the database first. */
export function createRunner(deps: RunnerDeps): Runner {
  const { settings, tmux, attempts, clock } = deps
  const agents = new Map<string, RunningAgent>()

  async function start(task: Task): Promise<void> {
    const logger = deps.logger.child({ taskId: task.id, attempt: task.attempt })
    const project = deps.projects.byName(task.project)
    const attempt = newAttempt(task, project)
    const agent = newAgent(task, attempt)
    try {
      attempts.open(attempt)
    } catch (error) {
      agents.delete(task.id)
      throw error
    }
    deps.notify(task.id, 'task')
    await orBroken(agent, () => launch(agent, project, logger))
  }

  async function launch(agent: RunningAgent, project: Project | null, logger: Logger): Promise<void> {
    const { task, attempt } = agent
    let panePid: number | null = null
    let before: Snapshot | null = null
    try {
      if (project === null) throw new CcmError('NOT_FOUND', `The project ${task.project} is gone.`)
      usableDirectory(attempt.dir)
      mkdirSync(attemptFiles(attempt.folder).spool, { recursive: true, mode: 0o700 })
      refuseUnsafeRoot(attempt.permissionMode, settings.claude.env)
      const claude = await deps.findClaude()
      const [snapshot, argv] = await Promise.all([
        snapshotTree(attempt.dir, attemptFiles(attempt.folder).before),
        prepare(agent, project, claude),
      ])
      before = snapshot
      await keepSnapshot(attemptFiles(attempt.folder).before, snapshot)
      attempts.setStarting(attempt)
      deps
        .ingest()
        .add({ taskId: task.id, attempt: task.attempt, folder: attemptFiles(attempt.folder).spool })
      const marks = { task: task.id, attempt: String(task.attempt), project: task.project }
      const windowName = nextWindowName(task.project)
      const window = await openWindow(tmux, { name: windowName, argv, marks })
      panePid = window.panePid
      const { pid, startedAt } = tmux.identity()
      const { windowId, paneId } = window
      attempts.setStarted(attempt, {
        serverPid: pid,
        serverStartedAt: startedAt,
        windowId,
        paneId,
        windowName,
      })
      Object.assign(attempt, attempts.get(attempt))
    } catch (error) {
      logger.error(
        { err: error, code: error instanceof CcmError ? error.code : 'INTERNAL' },
        'an agent could not be started',
      )
      await endHalfStarted(attempt)
      await deps
        .ingest()
        .remove({ taskId: task.id, attempt: task.attempt, folder: attemptFiles(attempt.folder).spool })
      return settle(agent, before, startFailure(error))
    }
    await watch(agent, panePid, before, null)
  }

  async function adopt(task: Task, attempt: Attempt, panePid: number | null): Promise<void> {
    const agent = newAgent(task, attempt)
    await orBroken(agent, () => takeBack(agent, panePid))
  }

  async function takeBack(agent: RunningAgent, panePid: number | null): Promise<void> {
    const { task, attempt } = agent
    const spool = { taskId: task.id, attempt: attempt.attempt, folder: attemptFiles(attempt.folder).spool }
    // What it reported while no daemon ran may decide everything: that belongs to its past.
    deps.ingest().add(spool)
    await deps.ingest().read(spool)
    const past = deps.hookEvents.ofAttempt(attempt)
    const waitedMs = waitedFor(
      attempts.chain(task.id).filter((change) => change.attempt === attempt.attempt),
      clock(),
    )
    const busyMs = Math.max(0, clock() - attempt.startedAt - waitedMs)
    const before = await readSnapshot(attemptFiles(attempt.folder).before)
    // Decided by the daemon of before, which ended before it could end the agent.
    if (attempt.state === 'timeout') {
      const end = { kind: 'timeout', error: attempt.stateReason, message: '', retryAfterMs: null }
      agent.endEarly = { outcome: 'failed_permanent', ...end }
    }
    await watch(agent, panePid, before, { past, busyMs })
  }

  async function watch(
    agent: RunningAgent,
    panePid: number | null,
    before: Snapshot | null,
    taken: { past: Iterable<HookEvent>; busyMs: number } | null,
  ): Promise<void> {
    const { attempt, task } = agent
    const files = attemptFiles(attempt.folder)
    const readSession = createSessionReader(attempt.configDir, attempt.claudeSessionId)
    const pane = paneOf(tmux, attempt)
    let claudePid: number | null = null
    const watcher = createWatcher({
      pane,
      startedAt: agent.startedAt,
      markers: settings.markers,
      deadlines: {
        ...settings.deadlines,
        totalMs: task.timeoutS === null ? settings.deadlines.totalMs : task.timeoutS * 1000,
      },
      clock,
      logger: deps.logger.child({ taskId: task.id, attempt: attempt.attempt, pane: attempt.paneId }),
      record: (change) => {
        attempts.recordState({ ...change, taskId: task.id, attempt: attempt.attempt, at: clock() })
        deps.notify(task.id, 'state')
      },
      readSession: () => {
        const session = readSession()
        claudePid = session?.pid ?? claudePid
        return session
      },
      readTranscript: (failure) => readTranscriptEnd(transcriptOf(agent), failure),
      readExit: () => readExit(files.exit),
      readSpool: () => deps.ingest().read({ taskId: task.id, attempt: attempt.attempt, folder: files.spool }),
      taken,
    })
    // All that came so far is in the past that the watcher has just read.
    if (taken !== null) agent.early = []
    agent.watcher = watcher
    agent.usage = createLiveUsage(() => transcriptOf(agent))
    if (agent.early.length > 0) watcher.onHookEvents(agent.early.splice(0))
    if (agent.endEarly !== null) watcher.end(agent.endEarly)
    if (panePid === null)
      watcher.onLook({
        at: clock(),
        exists: false,
        serverGone: attempt.serverPid !== tmux.identity().pid,
        dead: true,
        title: '',
        screen: null,
        attached: false,
      })
    const end = await watcher.over
    agent.ended = end
    await close(agent, pane, panePid, claudePid, end)
    await settle(agent, before, end)
  }

  /** Ends the processes, keeps the last screen, and reads the spool for the last time. */
  async function close(
    agent: RunningAgent,
    pane: Pane,
    panePid: number | null,
    claudePid: number | null,
    end: AgentEnd,
  ): Promise<void> {
    const { attempt, task } = agent
    const files = attemptFiles(attempt.folder)
    const screen = agent.watcher?.screen() ?? ''
    if (screen !== '')
      bestEffort(() => writeFileSync(join(attempt.folder, 'screen.txt'), screen, { mode: 0o600 }))
    const left = await endAgent({
      pane,
      tree: { rootPid: panePid, taskId: task.id, attempt: attempt.attempt },
      claudePid,
      exitFile: files.exit,
      politely: end.kind === 'done' || end.kind === 'unmarked' || end.kind === 'agent_error',
      exitMs: settings.exitMs,
    })
    if (left.length > 0)
      deps.logger.error({ taskId: task.id, pids: left }, 'processes of an agent would not die')
    await deps.ingest().remove({ taskId: task.id, attempt: attempt.attempt, folder: files.spool })
  }

  async function settle(agent: RunningAgent, before: Snapshot | null, end: AgentEnd): Promise<void> {
    const { attempt, task } = agent
    const hasBegun = deps.hookEvents.ofAttempt(attempt)[Symbol.iterator]().next().done !== true
    const result = await collectResult({
      dir: attempt.dir,
      configDir: attempt.configDir,
      claudeSessionId: hasBegun ? attempt.claudeSessionId : null,
      transcriptPath: hasBegun ? await findTranscript(transcriptOf(agent)) : null,
      events: { [Symbol.iterator]: () => deps.hookEvents.ofAttempt(attempt)[Symbol.iterator]() },
      before,
      markers: settings.markers,
      message: end.message,
      startedAt: agent.startedAt,
      endedAt: clock(),
      attempts: task.attempt,
      problem: end.error === null ? null : { kind: end.kind, message: end.error },
    })
    const { outcome, error, retryAfterMs } = end
    // Before it is settled: after that, no later daemon looks into this folder, and it holds secrets.
    bestEffort(() => cleanLaunch(attempt.folder))
    await storeOutcome({ taskId: task.id, attempt: task.attempt, outcome, result, error, retryAfterMs })
    forget(agent)
    await rm(attemptFiles(attempt.folder).before, { recursive: true, force: true }).catch(() => undefined)
    // Only when it is empty: what could not be stored is worth more than a tidy folder.
    await rmdir(attemptFiles(attempt.folder).spool).catch(() => undefined)
    deps.settled(end)
    deps.notify(task.id, 'task')
  }

  /** The next attempt of the same task may be there already. */
  function forget(agent: RunningAgent): void {
    if (agents.get(agent.task.id) === agent) agents.delete(agent.task.id)
  }

  // It waits until the database takes it: nothing else remembers what the agent's work came to.
  async function storeOutcome(report: Report): Promise<void> {
    for (;;) {
      try {
        attempts.settle(report, clock())
        return
      } catch (err) {
        if (!(err instanceof CcmError)) throw err
        deps.logger.error({ err, taskId: report.taskId }, 'an outcome could not be stored; it is tried again')
        await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS))
      }
    }
  }

  /** A launch that failed may have opened its window all the same: tmux answered too late, or not at all. */
  async function endHalfStarted(attempt: Attempt): Promise<void> {
    const panes = await listPanes(tmux).catch(() => [])
    for (const { marks, windowId } of panes) {
      if (marks.task !== attempt.taskId || marks.attempt !== String(attempt.attempt)) continue
      await killWindow(tmux, windowId).catch(() => undefined)
    }
    await killTree({ rootPid: null, taskId: attempt.taskId, attempt: attempt.attempt })
  }

  /** A fault of our own costs one attempt, never the daemon with all other agents; no process stays unwatched. */
  async function orBroken(agent: RunningAgent, work: () => Promise<void>): Promise<void> {
    const { task, attempt } = agent
    try {
      await work()
    } catch (err) {
      deps.logger.error({ err, taskId: task.id, attempt: task.attempt }, 'an attempt broke')
      await endHalfStarted(attempt).catch(() => undefined)
      const ingest = deps.ingest()
      await ingest
        .remove({ taskId: task.id, attempt: task.attempt, folder: attemptFiles(attempt.folder).spool })
        .catch(() => undefined)
      bestEffort(() => cleanLaunch(attempt.folder))
      // What the agent came to stands, whatever went wrong after it.
      const error = `ccm failed at this attempt: ${messageOf(err)}`
      const broken: AgentEnd = { outcome: 'failed', kind: 'internal', error, message: '', retryAfterMs: null }
      const end = agent.ended ?? broken
      const { outcome, retryAfterMs } = end
      const report = {
        taskId: task.id,
        attempt: task.attempt,
        outcome,
        result: null,
        error: end.error,
        retryAfterMs,
      }
      await storeOutcome(report).catch((again: unknown) =>
        deps.logger.error({ err: again, taskId: task.id }, 'an outcome could not be stored'),
      )
      forget(agent)
      deps.settled(end)
    }
  }

  function newAgent(task: Task, attempt: Attempt): RunningAgent {
    const { startedAt } = attempt
    const agent: RunningAgent = {
      task,
      attempt,
      watcher: null,
      endEarly: null,
      ended: null,
      usage: null,
      early: [],
      startedAt,
    }
    agents.set(task.id, agent)
    return agent
  }

  function newAttempt(task: Task, project: Project | null): Attempt {
    const at = clock()
    const folder = join(settings.home, 'attempts', `${task.id}.${task.attempt}`)
    return {
      taskId: task.id,
      attempt: task.attempt,
      phase: 'claimed',
      dir: project?.dir ?? '/',
      folder,
      claudeSessionId: randomUUID(),
      configDir: configDirFor(task.id),
      permissionMode: task.permissionMode ?? project?.permissionMode ?? settings.claude.permissionMode,
      serverPid: null,
      serverStartedAt: null,
      windowId: null,
      paneId: null,
      windowName: null,
      state: 'spawning',
      waitKind: null,
      stateReason: 'The window is being opened.',
      stateAt: at,
      startedAt: at,
      settledAt: null,
    }
  }

  function configDirFor(taskId: string): string | null {
    const { env } = settings.claude
    if (env['CLAUDE_CONFIG_DIR']) return env['CLAUDE_CONFIG_DIR']
    return hasOwnLogin(env) ? join(settings.home, 'claude', taskId) : null
  }

  function prepare(agent: RunningAgent, project: Project, claude: Claude): Promise<string[]> {
    const { task, attempt } = agent
    return prepareLaunch({
      task,
      attempt,
      claude,
      args: settings.claude.args,
      model: task.model ?? project.model ?? settings.claude.model,
      allowedTools: [...settings.claude.allowedTools, ...project.allowedTools, ...task.allowedTools],
      disallowedTools: [
        ...settings.claude.disallowedTools,
        ...project.disallowedTools,
        ...task.disallowedTools,
      ],
      inherited: settings.inherited,
      claudeEnv: settings.claude.env,
      markers: settings.markers,
      hookScript: settings.hookScript,
      ask: settings.ask(attempt),
    })
  }

  function nextWindowName(project: string): string {
    const taken = new Set([...agents.values()].map(({ attempt }) => attempt.windowName))
    for (let number = 1; ; number++) {
      const name = `agent-${project}-${number}`
      if (!taken.has(name)) return name
    }
  }

  return {
    agents,
    start,
    adopt,
    end(taskId, end) {
      const agent = agents.get(taskId)
      if (agent === undefined) return false
      agent.endEarly = end
      agent.watcher?.end(end)
      return true
    },
    onEvents(lease, events) {
      const agent = agents.get(lease.taskId)
      if (agent?.attempt.attempt !== lease.attempt) return
      if (agent.watcher === null) agent.early.push(...events)
      else agent.watcher.onHookEvents(events)
    },
  }
}

function transcriptOf({ watcher, attempt }: RunningAgent): {
  path: string | null
  configDir: string | null
  sessionId: string
} {
  return {
    path: watcher?.view().transcriptPath ?? null,
    configDir: attempt.configDir,
    sessionId: attempt.claudeSessionId,
  }
}

/** A window that could not be opened is not the task's fault; a directory that is gone is. */
function startFailure(error: unknown): AgentEnd {
  const permanent =
    error instanceof CcmError && ['DIR_UNUSABLE', 'NOT_FOUND', 'BAD_INPUT'].includes(error.code)
  return {
    outcome: permanent ? 'failed_permanent' : 'released',
    kind: 'start',
    error: `The agent could not be started: ${messageOf(error)}`,
    message: '',
    retryAfterMs: null,
  }
}

/** For what only helps a reader later: a full disk must not change how an attempt ended. */
function bestEffort(work: () => void): void {
  try {
    work()
  } catch {
    // It is missing then.
  }
}

/** The script writes it as its last act, a moment after the pane is dead. */
async function readExit(file: string): Promise<number | null> {
  for (let tries = 0; tries < 5; tries++) {
    const text = await readFile(file, 'utf8').catch(() => '')
    if (/^\d+\n$/.test(text)) return Number(text)
    await new Promise((resolve) => setTimeout(resolve, 40))
  }
  return null
}

/** How long an attempt waited for people in all, by its stored changes. */
function waitedFor(changes: StateChange[], now: number): number {
  return changes.reduce((sum, change, index) => {
    const until = changes[index + 1]?.at ?? now
    return change.to === 'waiting' ? sum + (until - change.at) : sum
  }, 0)
}

/** Claude Code itself refuses it, and would only be started to say so; ccm never sets the variable. */
function refuseUnsafeRoot(permissionMode: string, env: Record<string, string>): void {
  if (permissionMode !== 'bypassPermissions' || process.getuid?.() !== 0) return
  if (env['IS_SANDBOX'] !== undefined && env['IS_SANDBOX'] !== '') return
  throw new CcmError(
    'BAD_INPUT',
    'Claude Code does not bypass permissions for root. Use another permission mode or user; in a sandbox, set IS_SANDBOX = "1" in [claude.env].',
  )
}
