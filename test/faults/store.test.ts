import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import type { SearchHitJson } from '../../src/protocol/records.ts'
import { createStageHere, type Stage } from '../e2e/stage.ts'
import { mountSmall } from '../support/disk.ts'
import { eventually } from './fixture.ts'

const TEST = { timeout: 300_000 }
const bash = (command: string): ScriptedReply => ({
  kind: 'message',
  tools: [{ name: 'Bash', input: { command, description: 'Run it', timeout: 600_000 } }],
})
/** One command that waits for the file `go`, then some more, then done. */
const script = ({ turn }: ModelRequest): ScriptedReply => {
  if (turn === 0) return bash('touch begun; until [ -e go ]; do sleep 0.05; done')
  return turn < 6 ? bash(`echo zebra-${turn}`) : { kind: 'message', text: 'All zebras are counted.\n[DONE]' }
}

const health = async (stage: Stage) => {
  const { port } = JSON.parse(readFileSync(join(stage.home, 'daemon.json'), 'utf8')) as { port: number }
  return (await (await fetch(`http://127.0.0.1:${port}/health`)).json()) as Record<string, string>
}
async function begin(stage: Stage): Promise<string> {
  const { id } = await stage.add('Count zebras', '--allow', 'Bash')
  await eventually('the agent works', () => existsSync(join(stage.work, 'begun')), 60_000)
  return id
}
const go = (stage: Stage) => writeFileSync(join(stage.work, 'go'), '')
/** Calls that ended, as the record has them. */
const ended = async (stage: Stage, id: string) =>
  (await stage.events(id))
    .filter(({ hook_event_name: name }) => name === 'PostToolUse')
    .map(({ tool_input: input }) => String(input?.['command']).replace(/^touch.*$/, 'begun'))
const ALL = ['begun', 'echo zebra-1', 'echo zebra-2', 'echo zebra-3', 'echo zebra-4', 'echo zebra-5']
const sound = (file: string) => {
  const db = new Sqlite(file)
  try {
    return db.pragma('integrity_check', { simple: true })
  } finally {
    db.close()
  }
}

test('a database deleted under a working agent is put back, and the whole run is in it', TEST, async () => {
  await using stage = await createStageHere(script)
  const id = await begin(stage)
  for (const name of readdirSync(stage.home).filter((entry) => entry.startsWith('ccm.db')))
    rmSync(join(stage.home, name))
  go(stage)
  expect((await stage.end(id, 60_000)).status).toBe('succeeded')
  expect(await health(stage)).toMatchObject({ database: 'ok' })
  expect((await stage.status()).found_at_start.join('\n')).toContain('was deleted while it was in use')
  await stage.ccm(['stop'])
  expect(sound(join(stage.home, 'ccm.db'))).toBe('ok')
  expect((await stage.ccm(['start'])).code).toBe(0)
  expect((await stage.task(id)).status).toBe('succeeded')
  expect(await ended(stage, id)).toEqual(ALL)
})

test('a backup made at work brings tasks, events and search back', TEST, async () => {
  await using stage = await createStageHere(script)
  const id = await begin(stage)
  go(stage)
  await stage.end(id, 60_000)
  const file = join(stage.folder, 'backup.db')
  const backup = await stage.ccm(['backup', file])
  expect(backup.stdout).toContain('Backed up to')
  const later = await stage.add('Not in the backup')
  const refused = await stage.ccm(['restore', file])
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toContain('ccm stop')
  await stage.ccm(['cancel', later.id])
  await stage.ccm(['stop'])
  // Lost with everything: only the backup is left.
  for (const name of readdirSync(stage.home).filter((entry) => entry.startsWith('ccm.db')))
    writeFileSync(join(stage.home, name), 'garbage')
  const restored = await stage.ccm(['restore', file])
  expect(restored).toMatchObject({ code: 0, stdout: expect.stringContaining('Restored.') })
  expect((await stage.ccm(['start'])).code).toBe(0)
  expect((await stage.task(id)).result?.text).toContain('All zebras')
  expect(await ended(stage, id)).toEqual(ALL)
  const hits = await stage.json<SearchHitJson[]>(['search', '"zebras are counted"'])
  expect(hits.map(({ task_id }) => task_id)).toContain(id)
  expect((await stage.ccm(['show', later.id])).code).toBe(1)
  const shown = await stage.ccm(['show', id])
  expect(shown.stdout).toMatch(/Timeline\n +tools +Bash 6×/)
})

test('what agents of a lost database had in their spools is stored in the new one', TEST, async () => {
  await using stage = await createStageHere(script, { config: '[daemon]\nrestart = false\n' })
  const id = await begin(stage)
  await stage.crash()
  go(stage)
  const spool = join(stage.home, 'attempts', `${id}.1`, 'spool')
  const files = () => readdirSync(spool).filter((name) => name.endsWith('.json'))
  await eventually('events wait in the spool', () => files().length >= 12, 60_000)
  // Its log too, from which SQLite would heal it.
  for (const name of readdirSync(stage.home).filter((entry) => entry.startsWith('ccm.db')))
    writeFileSync(join(stage.home, name), 'garbage'.repeat(2000))
  expect((await stage.ccm(['start'])).code).toBe(0)
  await eventually('the spool is read', () => !existsSync(spool) || files().length === 0)
  const found = (await stage.status()).found_at_start.join('\n')
  expect(found).toMatch(/was unusable .* moved to/)
  expect(found).toMatch(/Events were left in 1 spool/)
  const hits = await stage.json<SearchHitJson[]>(['search', 'zebra', '--limit', '200'])
  expect(hits.filter(({ task_id }) => task_id === id).length).toBeGreaterThanOrEqual(5)
})

test(
  'on a full disk nothing new begins, a working agent ends its task, and room brings all of it back',
  TEST,
  async ({ skip }) => {
    await using stage = await createStageHere(script, {
      config: '[store]\nballast_mb = 4\n[queue]\nsweep = "1s"\n[agents]\nmin_free_memory_mb = 0\n',
    })
    await using mounted = await mountSmall(stage.home, '24m')
    if (mounted === null) return skip('nothing may be mounted here')
    const id = await begin(stage)
    const ballast = join(stage.home, 'ballast')
    await eventually('the reserve is there', () => existsSync(ballast))
    const filler = join(stage.home, 'filler')
    await execa('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'], { reject: false })
    await eventually('the reserve is given up', () => !existsSync(ballast))
    expect(await health(stage)).toMatchObject({ disk: 'full', status: 'degraded' })
    const next = await stage.add('Next', '--allow', 'Bash')
    go(stage)
    expect((await stage.end(id, 60_000)).status).toBe('succeeded')
    expect(await ended(stage, id)).toEqual(ALL)
    expect(await stage.task(next.id)).toMatchObject({
      status: 'queued',
      state_reason: expect.stringMatching(/^disk: .*full/),
    })
    rmSync(filler)
    await eventually('the reserve is back', () => existsSync(ballast))
    expect((await stage.end(next.id, 60_000)).status).toBe('succeeded')
    expect(await health(stage)).toMatchObject({ disk: 'ok' })
  },
)
