import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import type { HookEventJson } from '../../src/protocol/hook-event.ts'
import { calls, runs, says } from '../e2e/replies.ts'
import { createStage } from '../e2e/stage.ts'
import { eventually } from '../faults/fixture.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']
const CALLS = 100

test(
  'a daemon killed and started again during 100 tool calls has each once, in order',
  { timeout: 240_000 },
  async () => {
    let next = 0
    await using stage = await createStage(() =>
      next < CALLS ? runs(`echo call ${next++}`) : says('All ran.\n[DONE]'),
    )
    const { id } = await stage.add('Run them', ...BYPASS)
    for (const reached of [10, 40, 70]) {
      await eventually(`call ${reached}`, () => next >= reached, 120_000)
      await stage.crash()
      // The agent works on alone, and its events wait in the spool.
      const alone = next
      await eventually('more calls', () => next >= Math.min(alone + 8, CALLS), 60_000)
      await stage.ccm(['start'])
    }
    const { status } = await stage.end(id, 120_000)
    expect(status).toBe('succeeded')
    const events = await stage.events(id)
    const wanted = Array.from({ length: CALLS }, (_, number) => `echo call ${number}`)
    for (const kind of ['bash_command', 'bash_output'])
      expect(
        events.filter((event) => event.kind === kind).map(({ tool_input }) => tool_input?.['command']),
      ).toEqual(wanted)
    // Each call's end directly behind its start, and neither of them twice.
    const steps = events
      .filter(({ tool }) => tool === 'Bash')
      .map(({ tool_use_id, phase }) => `${tool_use_id} ${phase}`)
    expect(new Set(steps).size).toBe(2 * CALLS)
    expect(events.filter(({ suspect, kind }) => suspect !== null || kind === 'events_lost')).toEqual([])
    const db = new Sqlite(join(stage.home, 'ccm.db'), { readonly: true })
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok')
    db.close()
  },
)

test(
  'what an agent does with tools is recorded once, with its kind, and without the secret in it',
  { timeout: 120_000 },
  async () => {
    const secret = 'ghp_0123456789abcdefghijklmnopqrstuvwxyz'
    let work = ''
    const replies = [
      () => runs(`mkdir -p sub && cd sub && echo ${secret}`),
      () => runs('exit 3'),
      () => calls('Read', { file_path: join(work, 'parser.ts') }),
      () => calls('Edit', { file_path: join(work, 'parser.ts'), old_string: '41', new_string: '42' }),
      () => calls('Write', { file_path: join(work, 'new.txt'), content: 'ä\n' }),
      () => calls('Agent', { description: 'sub', prompt: 'SUB go', subagent_type: 'general-purpose' }),
      () => says('Done.\n[DONE]'),
    ]
    let next = 0
    await using stage = await createStage(
      ({ userBlocks }) => {
        if (
          userBlocks.some((block) => block.includes('SUB go')) &&
          !userBlocks.some((block) => block.includes('Do it'))
        )
          return says('sub done')
        return replies[Math.min(next++, replies.length - 1)]?.() ?? says('?')
      },
      { git: false },
    )
    work = stage.work
    writeFileSync(join(work, 'CLAUDE.md'), 'Be brief.\n')
    writeFileSync(join(work, 'parser.ts'), 'export const answer = 41\n')
    const { id } = await stage.add('Do it', ...BYPASS)
    expect((await stage.end(id, 90_000)).status).toBe('succeeded')
    const events = await stage.events(id)
    const count = (kind: HookEventJson['kind']) => events.filter((event) => event.kind === kind).length
    expect({
      started: count('session_start'),
      ended: count('session_complete'),
      prompts: count('prompt_submitted'),
      instructions: count('instructions_loaded'),
      commands: count('bash_command'),
      outputs: count('bash_output'),
      reads: count('file_read'),
      edits: count('file_edit'),
      writes: count('file_write'),
      subagents: [count('subagent_start'), count('subagent_stop')],
      moved: count('cwd_changed'),
      odd: [count('unknown'), count('unreadable'), count('events_lost')],
    }).toEqual({
      started: 1,
      ended: 1,
      prompts: expect.any(Number),
      instructions: 1,
      commands: 2,
      outputs: 2,
      reads: 1,
      edits: 1,
      writes: 1,
      subagents: [1, 1],
      moved: 1,
      odd: [0, 0, 0],
    })
    expect(count('turn_complete')).toBeGreaterThan(0)
    const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
    const [before, after] = [41, 42].map((answer) => sha256(`export const answer = ${answer}\n`))
    const [edit] = events.filter(({ kind }) => kind === 'file_edit')
    expect(edit?.detail).toMatchObject({
      old_sha256: before,
      new_sha256: after,
      lines_added: 1,
      lines_removed: 1,
    })
    expect(sha256(readFileSync(join(work, 'parser.ts'), 'utf8'))).toBe(after)
    expect(events.filter(({ kind }) => kind === 'bash_output').map(({ exit_code }) => exit_code)).toEqual([
      0, 3,
    ])
    expect(JSON.stringify(events)).toContain('echo ghp_***')
    for (const file of ['ccm.db', 'ccm.db-wal', 'daemon.log'])
      expect(readFileSync(join(stage.home, file)).includes(secret)).toBe(false)
  },
)
