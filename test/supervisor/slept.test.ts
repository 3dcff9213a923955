import { expect, test } from 'vitest'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { machineSleptMs } from '../../src/supervisor/upkeep/slept.ts'
import { createFleet, eventually } from './fleet.ts'

const HOUR = 3_600_000

test.skipIf(machineSleptMs() === null)(
  'what the machine slept while no daemon ran counts for no deadline of an agent at work, and once',
  { timeout: 60_000 },
  async () => {
    await using fleet = await createFleet()
    const { attempts, notes } = fleet.deps
    const first = createSupervisor(fleet.deps)
    await first.begin()
    notes.write('slept', null)
    const works = await fleet.add('Do it')
    const waits = await fleet.add('Ask', 'app')
    for (const id of [works, waits]) await fleet.agentOf(id)
    await eventually(() => typeof notes.read('slept') === 'number')
    await first.close('keep')
    const at = Date.now()
    const asks = { from: 'working', to: 'waiting', cue: 'asked', reason: 'It asks.', evidence: '' } as const
    attempts.recordState({
      ...asks,
      taskId: waits,
      attempt: 1,
      at,
      stateAt: at,
      waitKind: 'question',
      source: 'screen',
    })
    notes.write('slept', (machineSleptMs() ?? 0) - HOUR)
    const pausedOf = (id: string) => attempts.newestOf(id)?.pausedMs ?? 0
    const before = [works, waits].map(pausedOf)
    for (let daemons = 0; daemons < 2; daemons++) {
      const next = createSupervisor(fleet.deps)
      await next.begin()
      await next.close('keep')
    }
    const grew = [works, waits].map((id, index) => pausedOf(id) - (before[index] ?? 0))
    expect(Math.abs((grew[0] ?? 0) - HOUR)).toBeLessThan(5000)
    expect(grew[1]).toBeLessThan(5000)
  },
)
