import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'vitest'
import { isAlive } from '../e2e/stage.ts'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { signal } from '../support/signal.ts'
import { atWork, pidsOf } from './at-work.ts'

// Side by side: almost all of the time nothing happens. That another machine's agent never works beside one of a
// stopped daemon is tested where other machines are (test/supabase/agent-guard.test.ts).

test.concurrent(
  'a daemon that was stopped for longer than its lease goes on with the same agents',
  async ({ expect }) => {
    const lease = 'lease = "8s"\nheartbeat = "2s"\nsweep = "1s"'
    await using fleet = await createScriptedFleet({ dirs: 3, config: `[queue]\n${lease}` })
    await fleet.up()
    await atWork(fleet, 3)
    const before = pidsOf(fleet)
    const pid = fleet.pidOfDaemon()
    signal(pid, 'SIGSTOP')
    await sleep(12_000)
    signal(pid, 'SIGCONT')
    await sleep(3000)
    expect(isAlive(pid)).toBe(true)
    expect(pidsOf(fleet)).toEqual(before)
    fleet.letGo()
    await fleet.over(60_000)
    expect(await fleet.faults()).toEqual([])
    expect(fleet.ask('SELECT id FROM tasks WHERE attempt <> 1 OR lost_leases > 0')).toEqual([])
  },
)

test.concurrent(
  'of a daemon that was stopped for 90 s every agent counts: those that ended meanwhile, and those at work',
  { timeout: 300_000 },
  async ({ expect }) => {
    await using fleet = await createScriptedFleet({ dirs: 4 })
    await fleet.up()
    const quick = [await fleet.add('ends1', { workMs: 20_000 }), await fleet.add('ends2', { workMs: 30_000 })]
    const held = await atWork(fleet, 2)
    const before = pidsOf(fleet).filter((agent) => held.some((id) => agent.startsWith(id)))
    const pid = fleet.pidOfDaemon()
    signal(pid, 'SIGSTOP')
    await sleep(90_000)
    const said = fleet
      .ledger()
      .filter((entry) => entry.kind === 'outcome')
      .map(({ task }) => task)
    expect(said.toSorted()).toEqual(quick.toSorted())
    signal(pid, 'SIGCONT')
    await sleep(5000)
    // Its watchdog counts its own ticks, and a daemon that slept has no tmux that is gone and no agent that is silent.
    expect(isAlive(pid)).toBe(true)
    expect(fleet.pidOfDaemon()).toBe(pid)
    expect(pidsOf(fleet)).toEqual(before)
    fleet.letGo()
    await fleet.over(60_000)
    expect(await fleet.faults()).toEqual([])
    expect(fleet.counts()).toEqual({ succeeded: 4 })
    expect(fleet.ask('SELECT id FROM tasks WHERE attempt <> 1 OR failures + lost_leases > 0')).toEqual([])
  },
)
