import type { Logger } from 'pino'
import { alertsOf, type AlertRules, type FleetFacts, isOver } from '../../core/incident/alerts.ts'
import type { Clock } from '../../core/clock.ts'
import type { Incidents } from '../../store/incidents.ts'
import type { Notes } from '../../store/notes.ts'
import type { Recorder } from './recorder.ts'

/** Looks regularly at how the fleet fares and opens and closes alerts about it. */
export type AlertWatch = {
  /** Looks now; for tests. Never rejects. */
  look: () => Promise<void>
  /** `onPurpose`: a person stopped the daemon, so its absence is no incident. */
  close: (onPurpose: boolean) => Promise<void>
}

const LOOK_MS = 10_000

/** `facts` is asked at each look. The daemon's own absence is told at once, from the last sign of life that was noted. */
export function createAlertWatch(deps: {
  rules: AlertRules
  incidents: Incidents
  recorder: Recorder
  notes: Notes
  facts: () => Promise<FleetFacts>
  /** Looks for what was wrong with tasks and is over. */
  tasks: () => Promise<void>
  clock: Clock
  logger: Logger
  everyMs?: number
}): AlertWatch {
  const { recorder, notes, clock, rules } = deps
  let running: Promise<void> = Promise.resolve()

  function tellAbsence(): void {
    const alive = notes.read('alive') as { at?: unknown; onPurpose?: unknown } | undefined
    if (typeof alive?.at !== 'number' || alive.onPurpose === true) return
    const awayMs = clock() - alive.at
    if (awayMs <= rules.daemonDownMs) return
    recorder.note({
      kind: 'daemon_down',
      what: `The daemon did not run for ${Math.round(awayMs / 60_000)} min.`,
      evidence: `Its last sign of life was at ${new Date(alive.at).toISOString()}.`,
      action: 'It runs again and has taken back what it found.',
      alert: true,
      openedAt: alive.at,
    })
  }

  async function look(): Promise<void> {
    notes.write('alive', { at: clock(), onPurpose: false })
    const facts = await deps.facts()
    const alerts = alertsOf(facts, rules)
    for (const alert of alerts) recorder.open({ ...alert, alert: true })
    const holding = new Set(alerts.map(({ key }) => key))
    for (const { key } of deps.incidents.openOnes()) if (isOver(key, facts, holding)) recorder.close(key)
    await deps.tasks()
  }

  const safely = (): Promise<void> =>
    (running = running.then(look).catch((err: unknown) => {
      deps.logger.error({ err }, 'a look for alerts failed')
    }))

  try {
    tellAbsence()
  } catch (err) {
    deps.logger.error({ err }, 'the last sign of life could not be read')
  }
  const timer = setInterval(() => void safely(), deps.everyMs ?? LOOK_MS)
  void safely()
  return {
    look: safely,
    async close(onPurpose) {
      clearInterval(timer)
      await running
      try {
        notes.write('alive', { at: clock(), onPurpose })
      } catch (err) {
        deps.logger.error({ err }, 'the last sign of life could not be noted')
      }
    },
  }
}
