import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { IncidentJson } from '../../src/protocol/incident.ts'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { atWork, pidsOf } from './at-work.ts'
import { eventually } from './fixture.ts'

const PLANTED = resolve(import.meta.dirname, 'planted-fault.ts')
/** In the agent's prompt and so in its events; on its screen; never in the names of the healthy tasks. */
const WORD = 'DEADLYWORD'

test.each([
  { fault: 'events crash', when: 'after', what: 'events that were stored crash it' },
  { fault: 'events loop', when: 'after', what: 'the replay of its events never ends' },
  { fault: 'events memory', when: 'after', what: 'the replay of its events takes all memory' },
  { fault: 'events crash', when: 'at once', what: 'events in its spool crash it' },
  { fault: 'screen loop', when: 'after', what: 'the reading of its screen never ends' },
  { fault: 'launch crash', when: 'before', what: 'its start crashes it' },
])('a task that kills every daemon, because $what, is ended alone', async ({ fault, when }) => {
  await using fleet = await createScriptedFleet({
    dirs: 4,
    config: [
      '[queue]\nmax_queued = 1000\nsweep = "1s"\n[watchdog]\nevent_loop = "2s"\n',
      '[alerts]\ncommand = ["/bin/sh", "-c", "cat >>../alerts; echo >>../alerts"]\n',
    ].join(''),
  })
  const { stage } = fleet
  const file = join(stage.folder, 'fault')
  Object.assign(stage.env, {
    CCM__DAEMON__RESTART: 'true',
    NODE_OPTIONS: `--import=${PLANTED} --max-old-space-size=300 --disable-warning=ExperimentalWarning`,
    CCM_TEST_FAULT: fault,
    CCM_TEST_FAULT_WORD: WORD,
    CCM_TEST_FAULT_FILE: file,
  })
  await fleet.up()
  const healthy = await atWork(fleet, 3)
  const agents = pidsOf(fleet)
  if (when === 'before') writeFileSync(file, '')
  const deadly = await fleet.add(WORD, { holdFile: fleet.holdFile, shows: WORD, workMs: 100 })
  if (when === 'at once') writeFileSync(file, '')
  if (when === 'after') {
    await eventually('its agent works', () => fleet.living().some(({ task }) => task === deadly), 30_000)
    await sleep(1500)
    writeFileSync(file, '')
    await fleet.crash()
  }
  await eventually(
    'its task is over',
    () => fleet.ask(`SELECT 1 FROM tasks WHERE id = '${deadly}' AND status = 'failed'`).length > 0,
    90_000,
  )
  const log = () => readFileSync(join(stage.home, 'daemon.log'), 'utf8')
  console.log({ fault, when, died: log().split('DAEMON_DIED"').length - 1 })
  const { pid } = await eventually('the daemon answers', () => stage.status().catch(() => null), 30_000)
  await sleep(4000)
  expect((await stage.status()).pid).toBe(pid)
  expect((await stage.task(deadly)).error).toMatch(/3 daemons died while they were at work on it/)
  expect(stage.processesOf(deadly)).toEqual([])
  expect(pidsOf(fleet)).toEqual(agents)
  const incidents = (await stage.json<IncidentJson[]>(['incidents'])).filter(
    ({ kind }) => kind === 'deadly_task',
  )
  expect(incidents).toMatchObject([{ task_id: deadly, alert: true }])
  await eventually('people are told', () => {
    const told = readFileSync(join(stage.folder, 'alerts'), 'utf8')
    return told.split('every daemon died at work on it').length === 3
  })
  fleet.letGo()
  await fleet.over(60_000)
  for (const id of healthy) expect(await stage.task(id)).toMatchObject({ status: 'succeeded', attempt: 1 })
  expect(await fleet.faults([deadly])).toEqual([])
})
