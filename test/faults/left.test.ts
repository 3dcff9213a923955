import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { isAlive } from '../e2e/stage.ts'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { mountDisk } from '../support/disk.ts'
import { eventually } from './fixture.ts'

test('an attempt is not over while a process of it is held in the kernel; people are told once, and when it is gone', async ({
  skip,
}) => {
  await using fleet = await createScriptedFleet({
    dirs: 1,
    config:
      '[alerts]\ncommand = ["/bin/sh", "-c", "echo $CCM_ALERT_PHASE $CCM_ALERT_KIND $CCM_ALERT_TASK >>$HOME/told"]',
  })
  await using disk = await mountDisk(join(fleet.stage.folder, 'other'))
  if (disk === null) return skip('nothing may be mounted here')
  const told = () => {
    const file = join(fleet.stage.folder, 'user/told')
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  }
  await fleet.up()
  disk.freeze()
  const id = await fleet.add('held', { workMs: 100, childWrites: join(fleet.stage.folder, 'other/file') })
  await eventually('people are told', () => told().length > 0, 60_000)
  const child = fleet.ledger().find(({ kind }) => kind === 'child')
  const pid = child?.kind === 'child' ? child.child : 0
  expect(isAlive(pid)).toBe(true)
  expect(await fleet.stage.task(id)).toMatchObject({ status: 'running', attempt: 1 })
  // The next daemon holds it, too.
  await fleet.crash()
  await fleet.up()
  // It has looked for alerts twice by then.
  await sleep(15_000)
  expect(await fleet.stage.task(id)).toMatchObject({ status: 'running', attempt: 1 })
  expect(isAlive(pid)).toBe(true)
  expect(told()).toHaveLength(1)
  disk.thaw()
  await fleet.over(120_000)
  expect(await fleet.faults()).toEqual([])
  expect(await fleet.stage.task(id)).toMatchObject({
    status: 'succeeded',
    attempt: 1,
    result: { text: 'It is done.' },
  })
  await eventually('people are told of the end', () => told().length > 1, 30_000)
  expect(told()).toEqual([`opened agent_left ${id}`, `resolved agent_left ${id}`])
})
