import { rm, rmdir } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Snapshot } from '../../agent/changes.ts'
import { attemptFiles, cleanLaunch } from '../../agent/launch.ts'
import { collectResult, findTranscript } from '../../agent/result.ts'
import type { AgentEnd } from '../../agent/agent-end.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { CcmError } from '../../core/errors.ts'
import { afterReport } from '../../core/task/lease.ts'
import type { Report } from '../../core/task/queue.ts'
import { isFinal, type Task, type TaskResult } from '../../core/task/task.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { HookEvents } from '../../store/hook-events.ts'
import type { Settings } from './settings.ts'
import type { Ending, Workspaces } from '../workspaces/workspaces.ts'

/** Turns the end of an attempt into its stored outcome. */
export type Outcomes = {
  /**
   * Collects the result and stores the outcome; resolves when it is in the outbox. Called when nothing of the
   * agent runs any more and its spool was read.
   */
  store: (
    task: Task,
    attempt: Attempt,
    end: AgentEnd,
    sources: {
      before: Snapshot | null
      transcriptPath: string | null
      /** Transcripts of sessions that the agent left. */
      earlier: string[]
      resume: Report['resume']
    },
  ) => Promise<void>
  /** Stores the outcome without a result, for an attempt at which ccm itself failed. */
  storeBare: (attempt: Attempt, end: AgentEnd) => Promise<void>
}

const STORE_RETRY_MS = 5000

export function createOutcomes(deps: {
  settings: Settings
  attempts: Attempts
  hookEvents: HookEvents
  workspaces: Workspaces
  clock: Clock
  logger: Logger
}): Outcomes {
  const { settings, attempts, hookEvents, clock } = deps

  async function collect(
    attempt: Attempt,
    end: AgentEnd,
    sources: {
      before: Snapshot | null
      transcriptPath: string | null
      earlier: string[]
      ending: Ending | null
    },
  ): Promise<TaskResult> {
    const hasBegun = hookEvents.ofAttempt(attempt)[Symbol.iterator]().next().done !== true
    const { ending } = sources
    const result = await collectResult({
      dir: attempt.dir,
      configDir: attempt.configDir,
      claudeSessionId: hasBegun ? attempt.claudeSessionId : null,
      transcriptPath: hasBegun ? sources.transcriptPath : null,
      earlier: [...(await earlierTranscripts(attempt)), ...sources.earlier],
      events: { [Symbol.iterator]: () => hookEvents.ofAttempt(attempt)[Symbol.iterator]() },
      before: sources.before,
      ...(ending?.files !== undefined && { files: ending.files }),
      ...(ending?.reopen !== undefined && { reopen: ending.reopen }),
      markers: settings.markers,
      message: end.message,
      startedAt: attempt.startedAt,
      endedAt: clock(),
      attempts: attempt.attempt,
      problem: end.error === null ? null : { kind: end.kind, message: end.error },
    })
    return ending === null ? result : { ...result, workspace: ending.workspace }
  }

  /** Of sessions that this one does not go on with. */
  async function earlierTranscripts({ taskId, attempt, claudeSessionId }: Attempt): Promise<string[]> {
    const places = new Map(
      attempts
        .ofTask(taskId)
        .filter((each) => each.attempt < attempt && each.claudeSessionId !== claudeSessionId)
        .map(({ claudeSessionId: sessionId, configDir }) => [
          sessionId,
          { path: null, configDir, sessionId },
        ]),
    )
    const paths = await Promise.all([...places.values()].map(findTranscript))
    return paths.filter((path) => path !== null)
  }

  // It waits until the database takes it: nothing else remembers what the agent's work came to.
  async function toOutbox(report: Report, endKind: string): Promise<void> {
    for (;;) {
      try {
        attempts.settle(report, clock(), endKind)
        return
      } catch (err) {
        if (!(err instanceof CcmError)) throw err
        deps.logger.error({ err, taskId: report.taskId }, 'an outcome could not be stored; it is tried again')
        await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS))
      }
    }
  }

  function reportOf(
    { taskId, attempt }: Attempt,
    end: AgentEnd,
    result: TaskResult | null,
    resume: Report['resume'],
  ): Report {
    return {
      taskId,
      attempt,
      outcome: end.outcome,
      result,
      error: end.error,
      retryAfterMs: end.retryAfterMs,
      resume,
    }
  }

  return {
    async store(task, attempt, end, { before, transcriptPath, earlier, resume }) {
      const { configDir, claudeSessionId: sessionId } = attempt
      const path = await findTranscript({ path: transcriptPath, configDir, sessionId })
      // The work is on its branch before the queue hears of the end: nobody else would bring it there.
      const isLast = isFinal(afterReport(task, end.outcome).status)
      const ending = await deps.workspaces.end(task, attempt, isLast)
      const result = await collect(attempt, end, { before, transcriptPath: path, earlier, ending })
      // Before it is settled: after that, no later daemon looks into this folder, and it holds secrets.
      bestEffort(() => cleanLaunch(attempt.folder))
      await toOutbox(reportOf(attempt, end, result, resume), end.kind)
      const files = attemptFiles(attempt.folder)
      // The next attempt compares with the same state of the files.
      if (resume === null) await rm(files.before, { recursive: true, force: true }).catch(() => undefined)
      // Only when it is empty: what could not be stored is worth more than a tidy folder.
      await rmdir(files.spool).catch(() => undefined)
    },
    async storeBare(attempt, end) {
      bestEffort(() => cleanLaunch(attempt.folder))
      await toOutbox(reportOf(attempt, end, null, null), end.kind)
    },
  }
}

/** For what only helps a reader later: a full disk must not change how an attempt ended. */
export function bestEffort(work: () => void): void {
  try {
    work()
  } catch {
    // It is missing then.
  }
}
