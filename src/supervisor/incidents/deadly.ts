import { renameSync } from 'node:fs'
import type { Lease, Report } from '../../core/task/queue.ts'
import { DEATHS_MOST, type BlackBox } from './black-box.ts'
import type { Recorder } from './recorder.ts'

/**
 * What is done with a task at which `DEATHS_MOST` daemons died: nothing of its attempt is read any more, its processes
 * are ended, the task fails for good, and people are told. `tell` comes first and `over` last, so that a daemon
 * that dies in between is followed by one that does the rest, and people are told once.
 */
export type Deadly = {
  is: (taskId: string) => boolean
  tell: (lease: Lease) => void
  /** No retry by itself: it has cost the whole fleet three restarts. A person may retry it. */
  reportOf: (lease: Lease) => Report
  sentenceOf: (lease: Lease) => string
  over: (taskId: string) => void
  /** Puts a spool where nobody reads it. */
  setAside: (spoolFolder: string) => void
}

export function createDeadly(blackBox: BlackBox, recorder: Pick<Recorder, 'open' | 'close'>): Deadly {
  const why = `${DEATHS_MOST} daemons died while they were at work on it`
  return {
    is: blackBox.isDeadly,
    tell: ({ taskId, attempt }) =>
      void recorder.open({
        kind: 'deadly_task',
        key: `deadly:${taskId}`,
        what: 'A task was ended because every daemon died at work on it.',
        evidence: `${why}. Why they died: daemon.log.`,
        action: `Its agent was ended, and nothing of it was read any more; its folder is kept. To try again: ccm retry ${taskId}`,
        alert: true,
        taskId,
        attempt,
      }),
    reportOf: ({ taskId, attempt }) => ({
      taskId,
      attempt,
      outcome: 'failed_permanent',
      result: null,
      error: `It was ended: ${why}. This is a fault of ccm. To try again: ccm retry ${taskId}`,
      retryAfterMs: null,
      resume: null,
    }),
    sentenceOf: ({ taskId, attempt }) => `Task ${taskId}: ${why}; its attempt ${attempt} was ended unread.`,
    over(taskId) {
      recorder.close(`deadly:${taskId}`)
      blackBox.forget(taskId)
    },
    setAside: (spoolFolder) => renameSync(spoolFolder, `${spoolFolder}.unread`),
  }
}
