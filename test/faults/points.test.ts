import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { createScriptedFleet, type ScriptedFleet } from '../scripted/fleet.ts'
import { signal } from '../support/signal.ts'

/** What the database says at each point; the daemon is killed at the sight of it, and it has to be true of the dead. */
const POINTS = {
  'after the claim': `SELECT 1 FROM tasks t WHERE status = 'running' AND NOT EXISTS (
    SELECT 1 FROM attempts a WHERE a.task_id = t.id AND a.attempt = t.attempt AND a.phase <> 'claimed')`,
  'while the window opens': `SELECT 1 FROM attempts WHERE phase = 'starting'`,
  'after the window is known': `SELECT 1 FROM attempts WHERE phase = 'started'`,
  'before the report': `SELECT 1 FROM outbox WHERE delivered_at IS NULL`,
  'after the report': `SELECT 1 FROM tasks WHERE id = :id AND status = 'succeeded'`,
}

/** Looks without a pause, so that the kill follows within a millisecond; false when the point was missed. */
function killAt(fleet: ScriptedFleet, sql: string, id: string): boolean {
  const { pid } = JSON.parse(readFileSync(join(fleet.stage.home, 'daemon.json'), 'utf8')) as { pid: number }
  const db = new Sqlite(join(fleet.stage.home, 'ccm.db'), { readonly: true })
  try {
    const seen = db.prepare(sql)
    const over = db.prepare(`SELECT 1 FROM tasks WHERE id = :id AND status = 'succeeded'`)
    const parameters = sql.includes(':id') ? { id } : {}
    for (const until = performance.now() + 30_000; performance.now() < until;) {
      if (seen.get(parameters) !== undefined) {
        signal(pid, 'SIGKILL')
        // A daemon that went on for a moment may have passed the point.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
        return seen.get(parameters) !== undefined
      }
      if (!sql.includes(':id') && over.get({ id }) !== undefined) break
    }
    return false
  } finally {
    db.close()
  }
}

test.each(Object.entries(POINTS))(
  'a daemon killed %s is followed by one that ends the task once',
  async (_, sql) => {
    const wanted = 3
    await using fleet = await createScriptedFleet({ dirs: 1 })
    await fleet.up()
    let hit = 0
    for (let round = 0; hit < wanted && round < wanted * 5; round++) {
      const id = await fleet.add(`point${round}`, { workMs: 50 })
      if (killAt(fleet, sql, id)) hit++
      await fleet.up()
      await fleet.over(60_000)
    }
    expect(await fleet.faults()).toEqual([])
    expect(fleet.counts()).toEqual({ succeeded: expect.any(Number) })
    expect(fleet.ask('SELECT id FROM tasks WHERE failures + lost_leases > 0')).toEqual([])
    expect(hit).toBe(wanted)
  },
)
