import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createScriptedFleet, sizeOf } from '../scripted/fleet.ts'
import { heapMbOf, INSPECTABLE } from '../scripted/heap.ts'
import type { Script } from '../scripted/script.ts'

const WARM = 4
const MORE = 100

test(
  '200 tasks outlive a daemon that is killed 40 times: none lost, none twice, nothing left',
  { timeout: 900_000 },
  async () => {
    await using fleet = await createScriptedFleet({ dirs: 8 })
    Object.assign(fleet.stage.env, INSPECTABLE)
    const heap = () => {
      const log = join(fleet.stage.home, 'daemon.log')
      return heapMbOf(fleet.pidOfDaemon(), () => readFileSync(log, 'utf8'))
    }
    await fleet.up()
    await fleet.stage.status()
    // What a daemon loads for its first task stays.
    for (let index = 0; index < WARM; index++) await fleet.add(`warm${index}`, { workMs: 300, tools: 2 })
    await fleet.over(60_000)
    const before = sizeOf(fleet.pidOfDaemon())
    const heapBefore = await heap()
    const tasks = Number(process.env['CCM_FAULT_TASKS'] ?? 200)
    const kills = tasks / 5
    const odd: Script[] = [
      { ends: ['crash', 'done'] },
      { ends: ['error'] },
      { child: true },
      { ends: ['kill', 'done'] },
    ]
    for (let index = 0; index < tasks; index++)
      await fleet.add(`t${index}`, {
        workMs: 300,
        tools: 2,
        ...(index % 10 === 0 ? odd[(index / 10) % 4] : {}),
      })
    let killed = 0
    await fleet.over(540_000, async () => {
      await sleep(Math.random() * 1500)
      if (killed >= kills) return
      killed++
      await fleet.crash()
      await fleet.up()
    })
    const after = sizeOf(fleet.pidOfDaemon())
    expect(await fleet.faults()).toEqual([])
    expect(killed).toBe(kills)
    const { succeeded = 0, failed = 0 } = fleet.counts()
    expect(succeeded + failed).toBe(WARM + tasks)
    expect(failed).toBe(tasks / 40)
    await expect
      .poll(() => sizeOf(fleet.pidOfDaemon()).descriptors, { timeout: 20_000 })
      .toBeLessThanOrEqual(before.descriptors + 3)
    // However many it has done by now, with these it is enough for what it keeps of each to show.
    for (let index = 0; index < MORE; index++) await fleet.add(`more${index}`, { workMs: 300, tools: 2 })
    await fleet.over(240_000)
    expect(await fleet.faults()).toEqual([])
    // What V8 has not given back yet says nothing, and takes the more the busier it was.
    const heapAfter = await heap()
    console.log({ killed, counts: fleet.counts(), before, after, heapBefore, heapAfter })
    // 2.1 to 3.8 MB were seen; 5.2 where the daemon kept its ended agents, and 4.1 then without the tasks above.
    expect(heapAfter).toBeLessThan(heapBefore + 4.6)
    // What V8 does not count, roughly: 34 MB more were seen, right after work.
    expect(after.memoryMb).toBeLessThan(before.memoryMb + 120)
  },
)
