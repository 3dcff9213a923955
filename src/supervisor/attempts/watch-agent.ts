import { existsSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { endAgent } from '../../agent/end.ts'
import { guardFiles } from '../../agent/guard.ts'
import { attemptFiles } from '../../agent/launch.ts'
import { createLiveUsage } from '../../agent/live-usage.ts'
import { memoryCause } from '../../agent/out-of-memory.ts'
import type { Pane } from '../../agent/pane.ts'
import { createSessionReader } from '../../agent/session-file.ts'
import { readTranscriptEnd } from '../../agent/transcript-end.ts'
import { createWatcher, type WatcherOptions } from '../../agent/watcher.ts'
import type { AgentEnd } from '../../agent/agent-end.ts'
import type { Clock } from '../../core/clock.ts'
import type { WindowAnswer } from '../../core/permission/permission-request.ts'
import type { Redactor } from '../../core/redact.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { Projects } from '../../store/projects.ts'
import { listPanes } from '../../tmux/pane.ts'
import type { TmuxServer } from '../../tmux/server.ts'
import type { BlackBox } from '../incidents/black-box.ts'
import type { Ingest } from '../ingest/ingest.ts'
import { bestEffort } from './outcome.ts'
import { isPaneOf, isServerOf, paneOf, rootOf } from './pane-of.ts'
import { type RunningAgent, spoolOf, transcriptOf } from './running-agent.ts'
import type { Settings } from './settings.ts'
import { untilEnded } from './until-ended.ts'

type WatchDeps = {
  settings: Settings
  tmux: TmuxServer
  attempts: Attempts
  projects: Projects
  ingest: () => Ingest
  blackBox: BlackBox
  redactor: Redactor
  clock: Clock
  logger: Logger
  notify: (taskId: string, kind: 'state') => void
  working: (tookMs: number) => void
  answeredInWindow: (agent: RunningAgent, answer: WindowAnswer) => void
}

/**
 * Watches an agent in its window until its attempt is over and its processes are gone; answers how it ended. A pane
 * that is gone already (`panePid` null) is settled by what it left.
 */
export async function watchAgent(
  deps: WatchDeps,
  agent: RunningAgent,
  panePid: number | null,
  taken: WatcherOptions['taken'],
): Promise<AgentEnd> {
  const { settings, tmux, attempts, clock } = deps
  const { attempt, task } = agent
  const files = attemptFiles(attempt.folder)
  const timeoutS = task.timeoutS ?? deps.projects.byName(task.project)?.timeoutS
  const readSession = createSessionReader(
    attempt.configDir,
    () => agent.watcher?.view().claudeSessionId ?? attempt.claudeSessionId,
  )
  const pane = paneOf(tmux, attempt, clock, settings.attendedMs)
  const atWork = <T>(work: () => T): T => deps.blackBox.during(attempt, work)
  let claudePid: number | null = null
  let hasWorked = taken !== null
  const watcher = createWatcher({
    pane,
    startedAt: agent.startedAt,
    markers: settings.markers,
    deadlines: {
      ...settings.deadlines,
      totalMs: timeoutS === undefined || timeoutS === null ? settings.deadlines.totalMs : timeoutS * 1000,
    },
    holdMs: settings.askMs,
    clock,
    logger: deps.logger.child({ taskId: task.id, attempt: attempt.attempt, pane: attempt.paneId }),
    record: (change) => {
      attempts.recordState({ ...change, taskId: task.id, attempt: attempt.attempt, at: clock() })
      if (change.to === 'working' && !hasWorked) {
        hasWorked = true
        deps.working(clock() - agent.startedAt)
      }
      deps.notify(task.id, 'state')
    },
    paused: (ms) => bestEffort(() => attempts.addPaused(attempt, ms)),
    answeredInWindow: (answer) => deps.answeredInWindow(agent, answer),
    readSession: () => {
      const session = readSession()
      claudePid = session?.pid ?? claudePid
      return session
    },
    readTranscript: (failure) => readTranscriptEnd(transcriptOf(agent), failure),
    readExit: () => readExit(files.exit),
    atWork,
    resumed: attempt.resumed,
    cause: () => memoryCause(files.oom),
    fenced: () => existsSync(guardFiles(attempt.folder).fenced),
    readSpool: () => deps.ingest().read(spoolOf(attempt)),
    taken,
  })
  // All that came so far is in the past that the watcher has just read.
  if (taken !== null) agent.early = []
  agent.watcher = watcher
  agent.usage = createLiveUsage(() => transcriptOf(agent), atWork)
  if (agent.early.length > 0) watcher.onHookEvents(agent.early.splice(0))
  if (agent.endEarly !== null) watcher.end(agent.endEarly)
  if (panePid === null)
    watcher.onLook({
      at: clock(),
      exists: false,
      serverGone: !isServerOf(attempt, tmux.identity()),
      dead: true,
      title: '',
      screen: null,
      attended: false,
    })
  const end = await watcher.over
  agent.ended = end
  await close(deps, agent, pane, claudePid, end)
  return end
}

/** Ends the processes, keeps the last screen, and reads the spool for the last time. */
async function close(
  deps: WatchDeps,
  agent: RunningAgent,
  pane: Pane,
  claudePid: number | null,
  end: AgentEnd,
): Promise<void> {
  const { attempt, task } = agent
  const files = attemptFiles(attempt.folder)
  const screen = agent.watcher?.screen() ?? ''
  if (screen !== '')
    bestEffort(() =>
      writeFileSync(join(attempt.folder, 'screen.txt'), deps.redactor.text(screen), { mode: 0o600 }),
    )
  const panes = await listPanes(deps.tmux).catch(() => [])
  const own = panes.find((one) => isPaneOf(one, attempt))
  const left = await endAgent({
    pane,
    tree: { rootPid: own === undefined ? null : rootOf(own), taskId: task.id, attempt: attempt.attempt },
    claudePid,
    exitFile: files.exit,
    politely: end.kind === 'done' || end.kind === 'unmarked' || end.kind === 'agent_error',
    exitMs: deps.settings.exitMs,
  }).catch((err: unknown) => {
    // What it came to is known, and not lost by this.
    deps.logger.error({ err, taskId: task.id, attempt: attempt.attempt }, 'an agent could not be ended')
    return null
  })
  if (left?.length !== 0) await untilEnded(deps, agent)
  await deps.ingest().remove(spoolOf(attempt))
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
