import type { Logger } from 'pino'
import type { Incidents } from '../store/incidents.ts'
import { forgetHang, hangSentence, readHang } from '../supervisor/loops/watchdog.ts'

/** How the daemon before ended, where the watchdog ended it. */
export type LastHang = {
  /** One sentence, or none. */
  sentences: string[]
  /** Makes it an incident, which is over: that daemon is gone, and this one serves. Then its report goes. */
  record: (incidents: Incidents, now: number) => void
}

/** Reads the report that the watchdog left for the next start, and logs it. */
export function readLastHang(reportFile: string, logger: Logger): LastHang {
  const hang = readHang(reportFile)
  if (hang === null) return { sentences: [], record: () => undefined }
  const what = hangSentence(hang)
  logger.error({ code: 'HANG' }, what)

  return {
    sentences: [what],
    record(incidents, now) {
      const key = `daemon_hung:${hang.at}`
      const about = { what, evidence: hang.stack.join('\n'), alert: false, taskId: null, attempt: null }
      const action = 'The watchdog ended it, and it was started again.'
      const openedAt = hang.at - hang.limitMs
      try {
        incidents.open({ kind: 'daemon_hung', key, ...about, action, openedAt }, [])
        incidents.close(key, now, null)
        forgetHang(reportFile)
      } catch (err) {
        logger.error({ err }, 'an incident could not be recorded')
      }
    },
  }
}
