import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { DISK_FAULTS } from '../scripted/disk-faults.ts'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { mountDisk } from '../support/disk.ts'

test.for(DISK_FAULTS)(
  '$name: nothing is lost but what that may cost, none twice',
  async ({ strike }, { skip }) => {
    await using fleet = await createScriptedFleet({
      dirs: 4,
      ownConfigFolder: true,
      config: '[queue]\nmax_queued = 1000\nsweep = "1s"\n[breaker]\nfailures = 20\n[store]\nballast_mb = 4',
    })
    await using disk = await mountDisk(fleet.stage.home, 256)
    if (disk === null) return skip('nothing may be mounted here')
    // Before its disk goes.
    await using _ = { [Symbol.asyncDispose]: async () => void (await fleet.stage.ccm(['stop'])) }
    await fleet.up()
    const add = async (name: string, count: number) => {
      for (let index = 0; index < count; index++)
        await fleet.add(`${name}${index}`, { workMs: 1500, tools: 8, child: index % 4 === 0 })
    }
    await add('before', 20)
    await sleep(3000)
    const { trouble, destroyedAt } = await strike(fleet, disk)
    await fleet.up()
    await add('after', 4)
    await fleet.over(120_000)
    const faults = await fleet.faults([], {
      troubles: trouble === undefined ? [] : [trouble],
      ...(destroyedAt === undefined ? {} : { destroyedAt }),
    })
    console.log({ counts: fleet.counts(), lost: fleet.remains().lost })
    expect(faults).toEqual([])
    // What an agent did on a disk that failed may have failed with it, but that is tried again.
    expect(fleet.counts()['succeeded']).toBe(fleet.remains().tasks.length)
  },
)
