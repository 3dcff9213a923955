import { execa } from 'execa'
import { type Notifier, noticeText, noticeTitle } from '../core/incident/incident.ts'

/**
 * Runs a program of the user's for each message: title and text on its stdin, the parts in CCM_ALERT_*. No shell
 * of ours ever sees them. Exit status 0 is delivery.
 */
export function createCommandNotifier(argv: readonly string[]): Notifier {
  const [program = '', ...args] = argv
  return {
    name: 'command',
    async send(notice, signal) {
      const { incident, phase } = notice
      const ran = await execa(program, args, {
        input: `${noticeTitle(notice)}\n${noticeText(notice)}\n`,
        env: {
          CCM_ALERT_ID: String(incident.id),
          CCM_ALERT_PHASE: phase,
          CCM_ALERT_KIND: incident.kind,
          CCM_ALERT_TITLE: noticeTitle(notice),
          CCM_ALERT_TASK: incident.taskId ?? '',
        },
        stdout: 'ignore',
        stderr: 'ignore',
        cancelSignal: signal,
        killSignal: 'SIGKILL',
        reject: false,
      })
      if (ran.exitCode === 0) return 'sent'
      const why = ran.isCanceled
        ? 'did not end in time'
        : ran.exitCode === undefined
          ? `could not be run (${ran.code ?? ran.signal ?? 'unknown error'})`
          : `ended with status ${ran.exitCode}`
      return { failed: `It ${why}.`, retryAfterMs: null }
    },
  }
}
