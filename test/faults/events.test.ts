import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createScriptedFleet, type ScriptedFleet } from '../scripted/fleet.ts'
import { eventually } from './fixture.ts'

const KILLS = 15
const AGENTS = 6

type Spool = { task: string; session: string; folder: string }

/** Writes events of 2 KB into the spools in turn, as the script does: some 500 a second, and `burst` at once. */
function createWriter(spools: Spool[]) {
  let written = 0
  const enough = new AbortController()
  const burst = (count: number): void => {
    for (const until = written + count; written < until; written++) {
      const { session, folder } = spools[written % spools.length] ?? { session: '', folder: '' }
      const payload = {
        hook_event_name: 'PostToolUse',
        session_id: session,
        tool_name: 'Read',
        serial: Math.floor(written / spools.length),
        tool_response: 'x'.repeat(1900),
      }
      const part = join(folder, `.part.${written}`)
      writeFileSync(part, JSON.stringify(payload))
      // A pid that rises, and what never comes again.
      renameSync(part, join(folder, `${written + 99}.written-${(written * 7919) % 1_000_003}.json`))
    }
  }
  const steady = (async () => {
    for (; !enough.signal.aborted; await sleep(5)) burst(3)
  })()
  return {
    burst,
    /** How many there were. */
    async close(): Promise<number> {
      enough.abort()
      await steady
      return written
    },
  }
}

const spoolsOf = (fleet: ScriptedFleet): Spool[] =>
  fleet
    .ask<{ task: string; session: string; folder: string }>(
      'SELECT task_id AS task, claude_session_id AS session, folder FROM attempts ORDER BY task_id',
    )
    .map(({ folder, ...rest }) => ({ ...rest, folder: join(folder, 'spool') }))

const waitingIn = ({ folder }: Spool) =>
  existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : []

/** Files whose event is stored already: the kill came between the commit and the removal. */
function storedAndStillThere(fleet: ScriptedFleet, spools: Spool[]): number {
  const known = new Set(
    fleet.ask<{ file_name: string }>('SELECT file_name FROM hook_events').map((row) => row.file_name),
  )
  return spools.reduce(
    (sum, spool) => sum + waitingIn(spool).filter((name) => known.has(`${spool.task}.1/${name}`)).length,
    0,
  )
}

test(`${KILLS} kills of the daemon under 500 events a second: none is lost, none doubled, each in its order`, async () => {
  await using fleet = await createScriptedFleet({ dirs: AGENTS })
  await fleet.up()
  fleet.hold()
  for (let index = 0; index < AGENTS; index++)
    await fleet.add(`busy${index}`, { holdFile: fleet.holdFile, tools: 100, workMs: 20_000 })
  await eventually('all work', () => fleet.living().length === AGENTS, 60_000)
  const spools = spoolsOf(fleet)
  expect(spools).toHaveLength(AGENTS)
  const writer = createWriter(spools)
  let between = 0
  let waited = 0
  try {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(100)
      // More than it can have stored when the kill comes: at another moment of its work each time.
      writer.burst(600)
      await sleep(kill * 7)
      await fleet.crash()
      between += storedAndStillThere(fleet, spools)
      waited += spools.flatMap(waitingIn).length
      await fleet.up()
    }
  } finally {
    await writer.close()
  }
  const written = await writer.close()
  await eventually('every spool is read', () => spools.flatMap(waitingIn).length === 0, 60_000)
  fleet.letGo()
  await fleet.over(90_000)
  console.log({ written, waited, between })
  expect(written).toBeGreaterThan(KILLS * 100)
  // What the agents themselves sent, by their ledger; the integrity check; nothing left.
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: AGENTS })
  for (const [index, { task }] of spools.entries()) {
    const stored = fleet.ask<{ serial: number }>(
      `SELECT payload ->> '$.serial' AS serial FROM hook_events
       WHERE task_id = '${task}' AND payload ->> '$.serial' IS NOT NULL ORDER BY id`,
    )
    const wanted = Array.from({ length: Math.ceil((written - index) / AGENTS) }, (_, serial) => serial)
    expect(stored.map(({ serial }) => serial)).toEqual(wanted)
  }
}, 300_000)
