import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { createScriptedFleet, type ScriptedFleet } from '../scripted/fleet.ts'
import { atWork } from './at-work.ts'
import { eventually } from './fixture.ts'

const undelivered = (status: string) =>
  `SELECT 1 FROM outbox JOIN tasks t ON t.id = task_id WHERE delivered_at IS NULL AND t.status = '${status}'`

/**
 * The write that the daemon may not get past, and what the database says meanwhile. From outside, a trigger makes
 * that one write take seconds; the daemon is killed in the middle of it.
 */
const POINTS = [
  {
    point: 'after the claim',
    write: 'INSERT ON attempts',
    holds: `SELECT 1 FROM tasks t WHERE status = 'running' AND NOT EXISTS (
      SELECT 1 FROM attempts a WHERE a.task_id = t.id AND a.attempt = t.attempt)`,
  },
  {
    point: 'before the window',
    write: `UPDATE OF phase ON attempts WHEN NEW.phase = 'starting'`,
    holds: `SELECT 1 FROM attempts WHERE phase = 'claimed'`,
  },
  {
    point: 'after the window, before it is known',
    write: `UPDATE OF phase ON attempts WHEN NEW.phase = 'started'`,
    holds: `SELECT 1 FROM attempts WHERE phase = 'starting'`,
    withAgent: true,
  },
  {
    point: 'after the last word, before it is an outcome',
    write: 'INSERT ON outbox',
    holds: `SELECT 1 FROM attempts WHERE phase = 'started' AND state = 'complete'`,
  },
  {
    point: 'before the report',
    write: `UPDATE OF status ON tasks WHEN NEW.status = 'succeeded'`,
    holds: undelivered('running'),
  },
  {
    point: 'after the report, before the answer',
    write: 'UPDATE OF delivered_at ON outbox',
    holds: undelivered('succeeded'),
  },
] as const

// Millions of rows: some seconds of CPU, more than a look needs.
const SLOW = `SELECT count(*) FROM ${['a', 'b', 'c', 'd'].map((name) => `sqlite_master ${name}`).join(', ')};`

function setTrigger({ stage }: ScriptedFleet, sql: string): void {
  const db = new Sqlite(join(stage.home, 'ccm.db'), { timeout: 10_000 })
  db.exec(sql)
  db.close()
}

test.each(POINTS)('a daemon killed $point is followed by one that ends the task once', async (at) => {
  await using fleet = await createScriptedFleet({ dirs: 1 })
  await fleet.up()
  const started = () => fleet.ledger().filter(({ kind }) => kind === 'start').length
  for (let round = 0; round < 2; round++) {
    const agents = started()
    setTrigger(fleet, `CREATE TRIGGER slow BEFORE ${at.write} BEGIN ${SLOW} END`)
    await fleet.add(`point${round}`, { workMs: 50 })
    await eventually('the point', () => fleet.ask(at.holds).length > 0)
    if ('withAgent' in at) await eventually('its agent', () => started() > agents)
    // Long enough to be in the write, not long enough to be through.
    await sleep(30)
    await fleet.crash()
    expect(fleet.ask(at.holds)).not.toEqual([])
    setTrigger(fleet, 'DROP TRIGGER slow')
    await fleet.up()
    await fleet.over(30_000)
  }
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: 2 })
  expect(fleet.ask('SELECT id FROM tasks WHERE failures + lost_leases > 0')).toEqual([])
  // Where an agent had begun, it is the one that goes on.
  const least = at.point === 'after the claim' || at.point === 'before the window' ? 2 : 1
  expect(fleet.ask(`SELECT id FROM tasks WHERE attempt > ${least}`)).toEqual([])
})

test('a drain that is killed before the outcome is stored costs the tasks nothing', async () => {
  await using fleet = await createScriptedFleet({ dirs: 2 })
  await fleet.up()
  await atWork(fleet, 2)
  setTrigger(fleet, `CREATE TRIGGER slow BEFORE INSERT ON outbox BEGIN ${SLOW} END`)
  const stopping = fleet.stage.start(['stop'])
  const ending = `SELECT 1 FROM attempts WHERE phase = 'started' AND state = 'exited'`
  await eventually('both are ending', () => fleet.ask(ending).length === 2)
  await eventually('both are gone', () => fleet.living().length === 0)
  await fleet.crash()
  expect(fleet.ask(ending)).not.toEqual([])
  await stopping.ended
  setTrigger(fleet, 'DROP TRIGGER slow')
  fleet.letGo()
  await fleet.up()
  await fleet.over(30_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: 2 })
  expect(fleet.ask('SELECT id FROM tasks WHERE failures + lost_leases > 0')).toEqual([])
})
