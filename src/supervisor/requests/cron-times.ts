import { Cron } from 'croner'
import { CcmError } from '../../core/errors.ts'

/** The times of a schedule, each in whole milliseconds since 1970. */
export type CronTimes = {
  /** The first time after `at`; null when there is none any more. */
  nextAfter: (at: number) => number | null
  /** The times in (after, until]: the newest and how many are before it, at most 1000; null when there is none. */
  between: (after: number, until: number) => { newest: number; earlier: number } | null
}

const COUNTED = 1000

/**
 * Reads a pattern of five fields, minutes first, or a nickname such as `@daily`. A local time that a change
 * of the clocks leaves out is made up for right after it; one that comes twice is taken once, but by hours and
 * minutes that repeat (`0 * * * *`) both times. Throws BAD_INPUT with a sentence.
 */
export function readCron(pattern: string, timeZone: string): CronTimes {
  if (!/^(@[a-z]+|\S+( +\S+){4})$/.test(pattern.trim())) {
    throw bad(`${JSON.stringify(pattern)} is not five fields: minute, hour, day, month, day of the week.`)
  }
  if (!isTimeZone(timeZone))
    throw bad(`There is no time zone ${JSON.stringify(timeZone)}; Europe/Vienna is one.`)
  let cron: Cron
  try {
    cron = new Cron(pattern.trim(), { timezone: timeZone, mode: '5-part', paused: true })
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error)
    throw bad(`The times ${JSON.stringify(pattern)} cannot be read: ${why.replace(/\.*$/, '.')}`)
  }
  const nextAfter = (at: number) => cron.nextRun(new Date(at))?.getTime() ?? null
  return {
    nextAfter,
    between(after, until) {
      // The reference itself does not count as past, and croner thinks in whole seconds.
      const newest = cron.previousRuns(1, new Date(until + 1000))[0]?.getTime()
      const last =
        newest !== undefined && newest <= until ? newest : cron.previousRuns(1, new Date(until))[0]?.getTime()
      if (last === undefined || last <= after) return null
      let earlier = 0
      for (let at = nextAfter(after); at !== null && at < last && earlier < COUNTED; at = nextAfter(at))
        earlier++
      return { newest: last, earlier }
    },
  }
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).format(0) !== ''
  } catch {
    return false
  }
}

function bad(message: string): CcmError {
  return new CcmError('BAD_INPUT', message, { remedy: 'See: ccm schedule add --help' })
}
