import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { ledgerNow } from '../scripted/ledger.ts'
import { atWork } from './at-work.ts'
import { eventually } from './fixture.ts'

const AGENTS = 10

test.each([
  { by: 'the daemon that parked them', dies: false },
  { by: 'the next one', dies: true },
])('tasks parked at one limit go on after it, by $by, and not all at once', async ({ dies }) => {
  await using fleet = await createScriptedFleet({
    dirs: AGENTS,
    config: '[queue]\nmax_queued = 100\nsweep = "15s"',
  })
  await fleet.up()
  const limitFile = join(fleet.stage.folder, 'limit')
  await atWork(fleet, AGENTS, { limitFile })
  const resetAt = Math.ceil(Date.now() / 1000) * 1000 + 60_000
  const resetOnLedger = resetAt - Date.now() + ledgerNow()
  writeFileSync(limitFile, String(resetAt))
  fleet.letGo()
  await eventually('all are parked', () => fleet.counts()['queued'] === AGENTS, 50_000)
  if (dies) {
    await fleet.crash()
    await fleet.up()
  }
  await fleet.over(90_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: AGENTS })
  expect(fleet.ask('SELECT id FROM tasks WHERE attempt <> 2 OR failures + lost_leases > 0')).toEqual([])
  const starts = fleet
    .ledger()
    .flatMap((entry) => (entry.kind === 'start' && entry.attempt === 2 ? [entry.at - resetOnLedger] : []))
    .toSorted((a, b) => a - b)
  const due = fleet
    .ask<{ at: number }>('SELECT scheduled_at AS at FROM tasks ORDER BY scheduled_at')
    .map(({ at }) => at - resetAt)
  console.log({ dueAfterResetMs: due, startsAfterResetMs: starts.map(Math.round) })
  // Of ten over four seconds or more, one run in a thousand is as close by chance.
  expect(starts).toHaveLength(AGENTS)
  expect(starts[0]).toBeGreaterThan(0)
  expect((starts.at(-1) ?? 0) - (starts[0] ?? 0)).toBeGreaterThan(1500)
})
