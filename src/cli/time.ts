import { readSeconds } from './duration.ts'

const CLOCK = /^([01]?\d|2[0-3]):([0-5]\d)$/

/**
 * Reads `--at` as milliseconds since 1970: a duration from now (`90s`, `2h30m`), a time of day (`07:30`: the next
 * one), a date and time of this machine (`2030-01-31 07:30`) or one with a zone (`2030-01-31T07:30:00Z`); null for
 * anything else. A whole time may have passed.
 */
export function readTime(text: string, now: number): number | null {
  const seconds = readSeconds(text)
  if (seconds !== null) return now + seconds * 1000
  const clock = CLOCK.exec(text)
  if (clock !== null) {
    const next = new Date(now)
    next.setHours(Number(clock[1]), Number(clock[2]), 0, 0)
    // By the calendar, not by 24 hours: days with a change of the clock are longer or shorter.
    if (next.getTime() <= now) next.setDate(next.getDate() + 1)
    return next.getTime()
  }
  const whole = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:\d\d)?)?$/.exec(
    text,
  )
  if (whole === null) return null
  const [, year, month, day, time = '00:00', zone = ''] = whole
  // JavaScript takes the 31st of February for the 3rd of March.
  if (new Date(`${year}-${month}-${day}T00:00Z`).getUTCDate() !== Number(day)) return null
  const at = new Date(`${year}-${month}-${day}T${time}${zone}`).getTime()
  return Number.isNaN(at) ? null : at
}

/** Reads `--since` and `--until`, which look back: a duration ago, and of a time of day the last one; else as `readTime`. */
export function readPastTime(text: string, now: number): number | null {
  const seconds = readSeconds(text)
  if (seconds !== null) return now - seconds * 1000
  const at = readTime(text, now)
  if (at === null || !CLOCK.test(text)) return at
  const last = new Date(at)
  last.setDate(last.getDate() - 1)
  return last.getTime()
}
