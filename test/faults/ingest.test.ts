import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { eventually, temporaryFolder } from './fixture.ts'

const KILLS = 15
const SPOOLS = 4
/** Ten times what the reader knows of a spool at once. */
const FILES = 100_000

test(`${KILLS} kills of the reader under load: each event is stored once, in order, and none is left`, async () => {
  const home = temporaryFolder()
  const folders = Array.from({ length: SPOOLS }, (_, index) => join(home, `spool-${index}`))
  for (const folder of folders) mkdirSync(folder)
  let written = 0
  const enough = new AbortController()
  // As the script does it, and never twice under one name.
  const writer = (async () => {
    while (!enough.signal.aborted) {
      for (let burst = 0; burst < 5; burst++, written++) {
        const folder = folders[written % SPOOLS] ?? ''
        const serial = Math.floor(written / SPOOLS)
        const part = join(folder, `.part.${written}`)
        writeFileSync(
          part,
          JSON.stringify({ hook_event_name: 'PreToolUse', session_id: 's', serial, text: 'x'.repeat(2000) }),
        )
        // As the script names them: a pid that rises, and what never comes again.
        renameSync(part, join(folder, `${written + 99}.${(written * 7919) % 1_000_003}.json`))
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  const start = (): ChildProcess =>
    spawn(
      process.execPath,
      [join(import.meta.dirname, 'ingest-program.ts'), join(home, 'ccm.db'), ...folders],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
  const died = (child: ChildProcess) => new Promise((resolve) => child.once('exit', resolve))
  for (let kill = 0; kill < KILLS; kill++) {
    const child = start()
    const gone = died(child)
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    // At another moment of its work each time: after 1, 18, 35 … ms of storing.
    await new Promise((resolve) => setTimeout(resolve, 1 + kill * 17))
    child.kill('SIGKILL')
    await gone
  }
  enough.abort()
  await writer
  const last = start()
  const gone = died(last)
  await eventually(
    'every spool is empty',
    () => folders.every((folder) => readdirSync(folder).length === 0),
    60_000,
  )
  last.kill('SIGKILL')
  await gone
  const db = new Sqlite(join(home, 'ccm.db'), { readonly: true })
  try {
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok')
    expect(written).toBeGreaterThan(500)
    for (let index = 0; index < SPOOLS; index++) {
      const rows = db
        .prepare("SELECT payload ->> '$.serial' AS serial FROM hook_events WHERE task_id = :task ORDER BY id")
        .all({ task: `t${index}` }) as { serial: number }[]
      const wanted = Array.from({ length: Math.ceil((written - index) / SPOOLS) }, (_, serial) => serial)
      expect(rows.map(({ serial }) => serial)).toEqual(wanted)
    }
  } finally {
    db.close()
  }
}, 180_000)

test('100,000 files in a spool are stored in order, and take the memory of a part of them', async () => {
  const home = temporaryFolder()
  const folder = join(home, 'spool')
  mkdirSync(folder)
  for (let number = 0; number < FILES; number++)
    writeFileSync(
      join(folder, `${number}.x.json`),
      `{"hook_event_name":"Stop","session_id":"s","number":${number}}`,
    )
  const child = spawn(
    process.execPath,
    // The reader would be ended by a heap above that.
    ['--max-old-space-size=64', join(import.meta.dirname, 'ingest-program.ts'), join(home, 'ccm.db'), folder],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  const gone = new Promise((resolve) => child.once('exit', resolve))
  // A look a second: each reads the whole folder, which is work for the disk too. All of it took 15 s where it went
  // before everything else and 170 s at a load of 28, so it fails when nothing was read for a while.
  let left = FILES
  for (let idle = 0; idle < 20 && left > 0 && child.exitCode === null; idle++) {
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const now = readdirSync(folder).length
    if (now < left) idle = 0
    left = now
  }
  expect(child.exitCode).toBeNull()
  child.kill('SIGKILL')
  await gone
  const db = new Sqlite(join(home, 'ccm.db'), { readonly: true })
  try {
    const counted = db
      .prepare(
        "SELECT count(*) AS stored, sum(payload ->> '$.number' <> id - 1) AS misplaced FROM hook_events",
      )
      .get({})
    expect(counted).toEqual({ stored: FILES, misplaced: 0 })
  } finally {
    db.close()
  }
}, 400_000)
