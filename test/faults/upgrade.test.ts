import { cpSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import type { StatusJson } from '../../src/protocol/daemon.ts'
import { createStage } from '../e2e/stage.ts'
import { eventually, fakeClaude, isAlive, temporaryFolder } from './fixture.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** A copy of this package that calls itself by another version and brings one migration more. */
function nextVersion(): { program: string; migration: string } {
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
  return { program: join(folder, 'bin/ccm.js'), migration: number }
}

test('an upgrade in place: the new version migrates the database and takes the agents at work', async () => {
  await using stage = await createStage(() => ({ kind: 'message', text: '[DONE]' }), {
    claude: fakeClaude('exec sleep 1000'),
    config: '[timeouts]\nstart = "10m"\nexit = "1s"',
  })
  const { id } = await stage.add('Task wait')
  const agents = await eventually('the agent runs', () => {
    const pids = stage.processesOf(id)
    return pids.length > 0 && pids
  })
  const before = await stage.status()
  const next = nextVersion()
  const restarted = await execa(process.execPath, [next.program, 'restart', '--json'], {
    env: stage.env,
    extendEnv: false,
    stdin: 'ignore',
  })
  const after = JSON.parse(restarted.stdout) as StatusJson
  expect(after).toMatchObject({ version: '99.0.0', agents: 1 })
  expect(after.pid).not.toBe(before.pid)
  expect(after.found_at_start.join('\n')).toContain(`Task ${id}: its agent is still at work`)
  expect(agents.filter(isAlive)).toEqual(agents)
  expect(await stage.task(id)).toMatchObject({ status: 'running', attempt: 1 })
  const db = new Sqlite(join(stage.home, 'ccm.db'), { readonly: true })
  expect(db.prepare('SELECT count(*) AS rows FROM next_version').get()).toEqual({ rows: 0 })
  db.close()
  // Back to the older one is refused in words, and nobody's agent pays for it.
  const back = await stage.ccm(['restart'])
  expect(back.code).toBe(69)
  expect(back.stderr).toMatch(/newer/)
  expect(agents.filter(isAlive)).toEqual(agents)
  await execa(process.execPath, [next.program, 'start'], {
    env: stage.env,
    extendEnv: false,
    stdin: 'ignore',
  })
  expect(await stage.task(id)).toMatchObject({ status: 'running', attempt: 1 })
  expect((await stage.ccm(['cancel', id])).code).toBe(0)
  await stage.end(id)
  expect(stage.processesOf(id)).toEqual([])
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
