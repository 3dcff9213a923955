import { z } from 'zod'

/** A time in replies: ISO 8601 in UTC. */
export const at = z.iso.datetime()

/** A time, ms since 1970, as `at` has it. */
export function toIso(at: number): string {
  return new Date(at).toISOString()
}
