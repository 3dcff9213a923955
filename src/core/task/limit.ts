const FAMILIES = ['opus', 'sonnet', 'haiku', 'fable', 'mythos'] as const

/**
 * The family of models a usage limit is about, by the API's name of it (`seven_day_opus`); null: all of them, or
 * not known.
 */
export function familyOfLimit(type: string | null): string | null {
  return FAMILIES.find((family) => type?.toLowerCase().endsWith(`_${family}`)) ?? null
}

/** The family a model id or alias belongs to (`claude-opus-5-5`, `opus`); `other` when it is none of the known. */
export function familyOfModel(model: string): string {
  return FAMILIES.find((family) => model.toLowerCase().includes(family)) ?? 'other'
}

/**
 * When a usage limit ends by what is on the screen or in the message: "resets 3:26pm (UTC)" or "resets Nov 24,
 * 10:39am (UTC)", to the minute; null where nothing is said or the time is not in UTC. Of a time of day the next one
 * counts, unless it was within the last hour: then the limit has just ended.
 */
export function resetTimeIn(text: string, now: number): number | null {
  const match = /\bresets (?:([A-Z][a-z]{2}) (\d{1,2}), )?(\d{1,2})(?::(\d{2}))?(am|pm) \(UTC\)/.exec(text)
  if (match === null) return null
  const [, month, day, hour12, minute = '0', half] = match
  const hour = (Number(hour12) % 12) + (half === 'pm' ? 12 : 0)
  const today = new Date(now)
  const year = today.getUTCFullYear()
  if (month !== undefined) {
    const index = MONTHS.indexOf(month)
    if (index === -1) return null
    const at = Date.UTC(year, index, Number(day), hour, Number(minute))
    return at < now - 180 * DAY_MS ? Date.UTC(year + 1, index, Number(day), hour, Number(minute)) : at
  }
  const at = Date.UTC(year, today.getUTCMonth(), today.getUTCDate(), hour, Number(minute))
  return at < now - HOUR_MS ? at + DAY_MS : at
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
