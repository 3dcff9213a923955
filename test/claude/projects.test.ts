import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ProjectJson } from '../../src/protocol/project.ts'
import type { ScheduleJson } from '../../src/protocol/schedule.ts'
import { createStage } from '../e2e/stage.ts'

const TEST = { timeout: 300_000 }

const ALLOWED = [
  'npm test',
  'npm run test -- --bail',
  'npm run test:unit',
  'make lint',
  'git add -A',
  'git commit -qm "a b"',
]
const ASKED = [
  'npm test; rm -f parser.ts',
  'npm test && touch a',
  'npm test | tee b',
  'npm test $(touch c)',
  'npm test > d',
  'npm test\ntouch e',
  'npm run testing',
  'make clean',
  'git push',
]

test(
  'the rules that ccm projects add suggests let each command run and nothing that is chained to it',
  TEST,
  async () => {
    const commands = [...ALLOWED, ...ASKED]
    const outcomes: boolean[] = []
    await using stage = await createStage(({ turn, toolResults }) => {
      outcomes.push(...toolResults.map(({ isError }) => !isError))
      const command = commands[turn]
      return command === undefined
        ? { kind: 'message', text: '[DONE]' }
        : { kind: 'message', tools: [{ name: 'Bash', input: { command, description: 'a step' } }] }
    })
    const scripts = { test: 'echo tested', 'test:unit': 'echo unit', testing: 'echo no' }
    writeFileSync(join(stage.work, 'package.json'), JSON.stringify({ scripts }))
    writeFileSync(join(stage.work, 'Makefile'), 'lint:\n\t@echo linted\nclean:\n\t@rm -f parser.ts\n')
    writeFileSync(
      join(stage.work, '.git/config'),
      `${readFileSync(join(stage.work, '.git/config'), 'utf8')}[user]\n\tname = t\n\temail = t@example.org\n`,
    )
    const added = await stage.json<ProjectJson>([
      'projects',
      'add',
      stage.work,
      '--trust',
      '--allow-suggested',
    ])
    expect(added.allowed_tools).toContain('Bash(npm test:*)')
    await stage.json(['projects', 'set', added.name, 'in_place=yes'])
    const task = await stage.add('Go.', '--permission-mode', 'manual')
    const asked: string[] = []
    for (;;) {
      const now = await stage.until(
        task.id,
        ({ waiting_for, status }) => waiting_for !== null || status === 'succeeded' || status === 'failed',
        120_000,
      )
      if (now.waiting_for === null) break
      const { id, detail } = now.waiting_for
      asked.push(commands.find((command) => detail.includes(command) && !asked.includes(command)) ?? detail)
      await stage.ccm(['deny', task.id])
      await stage.until(task.id, ({ waiting_for }) => waiting_for?.id !== id, 60_000)
    }
    expect(asked.length).toBe(ASKED.length)
    expect(outcomes).toEqual([...ALLOWED.map(() => true), ...ASKED.map(() => false)])
    expect(existsSync(join(stage.work, 'parser.ts'))).toBe(true)
    for (const name of ['a', 'b', 'c', 'd', 'e']) expect(existsSync(join(stage.work, name))).toBe(false)
  },
)

test(
  'a paused project starts nothing, also in a new daemon; a schedule adds its task, and both hold the project',
  TEST,
  async () => {
    await using stage = await createStage(() => ({ kind: 'message', text: '[DONE]' }))
    const { name } = await stage.json<ProjectJson>(['projects', 'add', stage.work, '--trust'])
    await stage.json(['projects', 'set', name, 'paused=yes', 'priority=7'])
    await stage.crash()
    await stage.ccm(['start'])
    const schedule = await stage.json<ScheduleJson>([
      'schedule',
      'add',
      '@yearly',
      'Look.',
      '--project',
      name,
      '--tz',
      'UTC',
    ])
    expect(schedule.next).toHaveLength(5)
    const ran = await stage.json<{ id: string; priority: number; source: string }>([
      'schedule',
      'run',
      schedule.name,
    ])
    expect(ran).toMatchObject({ priority: 7, source: 'schedule' })
    // Long enough for the dispatcher to have looked, which the nudge of the insert makes at once.
    await expect.poll(() => stage.status(), { timeout: 20_000 }).toMatchObject({ queued: 1, running: 0 })
    expect((await stage.task(ran.id)).attempt).toBe(0)
    expect((await stage.ccm(['projects', 'remove', name])).stderr).toContain(schedule.name)
    await stage.ccm(['schedule', 'remove', schedule.name])
    expect((await stage.ccm(['projects', 'remove', name])).stderr).toContain(ran.id)
    await stage.json(['projects', 'set', name, '--unset', 'paused'])
    expect((await stage.end(ran.id, 90_000)).status).toBe('succeeded')
    expect((await stage.ccm(['projects', 'remove', name])).code).toBe(0)
  },
)
