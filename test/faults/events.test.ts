import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { daemonLog } from '../e2e/stage.ts'
import { createScriptedFleet, type ScriptedFleet } from '../scripted/fleet.ts'
import { eventually, isAlive } from './fixture.ts'

const PLANTED = resolve(import.meta.dirname, 'planted-fault.ts')
const KILLS = 15
/** Of so many kills one comes between the commit and the removal, whatever the machine is at. */
const BETWEEN_EVERY = 3
const AGENTS = 6

type Spool = { task: string; session: string; folder: string }

/** Writes events of 2 KB into the spools in turn, as the script does: some 500 a second, and `burst` at once. */
function createWriter(spools: Spool[]) {
  let written = 0
  let fault: unknown = null
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
  })().catch((error: unknown) => (fault = error))
  return {
    burst(count: number): void {
      if (fault !== null) throw fault
      burst(count)
    },
    stop: () => enough.abort(),
    /** How many there were when it had stopped; throws what kept it from going on. */
    async written(): Promise<number> {
      await steady
      if (fault !== null) throw fault
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

const waitingIn = ({ folder }: Spool) => readdirSync(folder).filter((name) => name.endsWith('.json'))

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

/** Where the work fails, what became of the tasks is told with it: a spool goes with its attempt. */
async function withCause<T>(fleet: ScriptedFleet, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const attempts = fleet.ask(
      `SELECT t.id, t.status, t.error, a.attempt, a.phase, a.state, a.state_reason
       FROM tasks t LEFT JOIN attempts a ON a.task_id = t.id`,
    )
    const told = [String(cause), ...attempts.map((row) => JSON.stringify(row)), daemonLog(fleet.stage.home)]
    throw new Error(told.join('\n'), { cause })
  }
}

test(`${KILLS} kills of the daemon under 500 events a second: none is lost, none doubled, each in its order`, async () => {
  await using fleet = await createScriptedFleet({ dirs: AGENTS })
  const file = join(fleet.stage.folder, 'fault')
  Object.assign(fleet.stage.env, {
    NODE_OPTIONS: `--import=${PLANTED} --disable-warning=ExperimentalWarning`,
    CCM_TEST_FAULT: 'stored kill',
    CCM_TEST_FAULT_WORD: '/spool/',
    CCM_TEST_FAULT_FILE: file,
  })
  await fleet.up()
  fleet.hold()
  for (let index = 0; index < AGENTS; index++)
    await fleet.add(`busy${index}`, { holdFile: fleet.holdFile, tools: 100, workMs: 20_000 })
  await eventually('all work', () => fleet.living().length === AGENTS, 60_000)
  const spools = spoolsOf(fleet)
  expect(spools).toHaveLength(AGENTS)
  const writer = createWriter(spools)
  const between: number[] = []
  let waited = 0
  const killOne = async (kill: number) => {
    await sleep(100)
    const isBetween = kill % BETWEEN_EVERY === 0
    const pid = fleet.pidOfDaemon()
    // More than it can have stored when the kill comes: at another moment of its work each time.
    writer.burst(600)
    if (isBetween) {
      writeFileSync(file, '')
      await eventually('it dies before it removes a file', () => !isAlive(pid))
      rmSync(file)
      between.push(storedAndStillThere(fleet, spools))
    } else {
      await sleep(kill * 7)
      await fleet.crash()
    }
    waited += spools.flatMap(waitingIn).length
    await fleet.up()
  }
  const killAgainAndAgain = async () => {
    try {
      for (let kill = 0; kill < KILLS; kill++) await killOne(kill)
    } finally {
      writer.stop()
    }
    const written = await writer.written()
    await eventually('every spool is read', () => spools.flatMap(waitingIn).length === 0, 60_000)
    return written
  }
  const written = await withCause(fleet, killAgainAndAgain)
  fleet.letGo()
  await fleet.over(90_000)
  console.log({ written, waited, between })
  expect(written).toBeGreaterThan(KILLS * 100)
  // Each of these left files behind whose events were stored: the next daemon met them again.
  expect(between).toHaveLength(KILLS / BETWEEN_EVERY)
  for (const left of between) expect(left).toBeGreaterThan(0)
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
