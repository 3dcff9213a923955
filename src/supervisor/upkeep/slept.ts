import { uptime } from 'node:os'
import type { Attempts } from '../../store/attempts.ts'
import type { Notes } from '../../store/notes.ts'

const NOTE = 'slept'
/** Two clocks are not read in the same moment. */
const LEAST_MS = 1000

/** How long this machine has slept since its start, in milliseconds; null where that is not known. */
export function machineSleptMs(): number | null {
  // Elsewhere both clocks may go on in a sleep, or neither.
  return process.platform === 'linux' ? uptime() * 1000 - Number(process.hrtime.bigint()) / 1e6 : null
}

/**
 * What the machine slept while no daemon ran counts for no deadline; to be called once, before any agent is taken back.
 * One that waited needs no more time: that it was idle is told by its past.
 */
export function forgiveSleep(of: { attempts: Attempts; notes: Notes; sleptMs: () => number | null }): void {
  const noted = of.notes.read(NOTE)
  const sleptMs = of.sleptMs()
  if (sleptMs === null) return
  const newMs = typeof noted === 'number' ? sleptMs - noted : 0
  if (newMs > LEAST_MS)
    for (const attempt of of.attempts.openOnes())
      if (attempt.state !== 'waiting') of.attempts.addPaused(attempt, Math.round(newMs))
  of.notes.write(NOTE, sleptMs)
}

/** Answers what keeps the note of it true while a daemon runs, whose watchers themselves see that time stood still. */
export function createSleepNote(of: { notes: Notes; sleptMs: () => number | null }): () => void {
  let noted: number | null = null
  return () => {
    const sleptMs = of.sleptMs()
    if (sleptMs === null || (noted !== null && Math.abs(sleptMs - noted) < LEAST_MS)) return
    of.notes.write(NOTE, sleptMs)
    noted = sleptMs
  }
}
