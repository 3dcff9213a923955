import { cpSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import type { StatusJson } from '../../src/protocol/daemon.ts'
import { createStage } from '../e2e/stage.ts'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { atWork, pidsOf } from './at-work.ts'
import { eventually, fakeClaude, isAlive, temporaryFolder } from './fixture.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** The program of a copy of this package that calls itself by another version and brings one migration more. */
function nextVersion(): string {
  const folder = temporaryFolder()
  for (const name of ['bin', 'dist', 'hooks', 'migrations'])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ ...manifest, version: '99.0.0' }))
  const migrations = join(folder, 'migrations/sqlite')
  const number = String(readdirSync(migrations).length + 1).padStart(4, '0')
  writeFileSync(
    join(migrations, `${number}-next.sql`),
    'CREATE TABLE next_version (id INTEGER PRIMARY KEY) STRICT;\n',
  )
  return join(folder, 'bin/ccm.js')
}

test('an upgrade in place: the new version migrates the database, and every agent at work ends its task under it', async () => {
  await using fleet = await createScriptedFleet({ dirs: 4 })
  const { stage } = fleet
  await fleet.up()
  // The events of one come all along, with a daemon and without.
  fleet.hold()
  const busy = await fleet.add('busy', { workMs: 10_000, tools: 40, holdFile: fleet.holdFile })
  const held = await atWork(fleet, 3)
  for (let index = 0; index < 2; index++) await fleet.add(`queued${index}`, { workMs: 100 })
  await eventually('four are at work', () => fleet.living().length === 4)
  const agents = pidsOf(fleet)
  const before = await stage.status()
  const next = nextVersion()
  const run = (...args: string[]) =>
    execa(process.execPath, [next, ...args], { env: stage.env, extendEnv: false, stdin: 'ignore' })
  const after = JSON.parse((await run('restart', '--json')).stdout) as StatusJson
  expect(after.version).toBe('99.0.0')
  expect(after.pid).not.toBe(before.pid)
  // On a busy machine it answers before it has them all.
  await eventually('it has its agents', async () => (await stage.status()).agents === 4)
  const { found_at_start: found } = await stage.status()
  for (const id of [busy, ...held])
    expect(found.join('\n')).toContain(`Task ${id}: its agent is still at work`)
  expect(pidsOf(fleet)).toEqual(agents)
  expect(fleet.ask('SELECT count(*) AS rows FROM next_version')).toEqual([{ rows: 0 }])
  // Back to the older one is refused in words, and nobody's agent pays for it.
  const back = await stage.ccm(['restart'])
  expect(back.code).toBe(69)
  expect(back.stderr).toMatch(/newer/)
  expect(pidsOf(fleet)).toEqual(agents)
  await run('start')
  fleet.letGo()
  await fleet.over(90_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: 6 })
  expect(fleet.ask('SELECT id FROM tasks WHERE attempt <> 1 OR failures + lost_leases > 0')).toEqual([])
  const startsOf = (ids: string[]) =>
    fleet
      .ledger()
      .flatMap(({ kind, task, pid }) => (kind === 'start' && ids.includes(task) ? [`${task} ${pid}`] : []))
  expect(startsOf([busy, ...held]).toSorted()).toEqual(agents)
  expect((await stage.status()).version).toBe('99.0.0')
})

test('with on_stop = "release" a signal gives the tasks back and leaves no agent', async () => {
  await using stage = await createStage(() => ({ kind: 'message', text: '[DONE]' }), {
    claude: fakeClaude('exec sleep 1000'),
    config: '[timeouts]\nstart = "10m"\nexit = "1s"\n[daemon]\non_stop = "release"',
  })
  const { id } = await stage.add('Task wait')
  await eventually('the agent runs', () => stage.processesOf(id).length > 0)
  const { pid } = await stage.status()
  process.kill(pid, 'SIGTERM')
  await eventually('the daemon is gone', () => !isAlive(pid), 40_000)
  expect(stage.processesOf(id)).toEqual([])
  const db = new Sqlite(join(stage.home, 'ccm.db'), { readonly: true })
  expect(db.prepare('SELECT status, failures FROM tasks WHERE id = :id').get({ id })).toEqual({
    status: 'queued',
    failures: 0,
  })
  db.close()
})
