import { expect, test } from 'vitest'
import { createCommandLine, serveDaemon } from './command-line.ts'

const ADD = ['schedule', 'add', '0 7 * * 1-5', 'Look around', '--project', 'app', '--tz', 'Europe/Vienna']

test('a schedule is added with everything it was given, listed, shown, paused, run and removed', async () => {
  const { home, calls } = await serveDaemon()
  const ccm = (...argv: string[]) => createCommandLine(home).ccm(...argv)
  const added = await ccm(
    ...ADD,
    '--name',
    'morning',
    '--missed',
    'run-once',
    '--overlap',
    '--priority',
    '-3',
    '--timeout',
    '1h',
    '--allow',
    'Read',
  )
  expect(added).toMatchObject({ code: 0, stderr: '' })
  expect(added.stdout).toContain('The schedule morning adds its first task Mon 2026-11-23 07:00 GMT+1.')
  expect(added.stdout).toContain('app is not trusted yet')
  expect(calls[0]).toMatchObject([
    'addSchedule',
    {
      dir: null,
      project: 'app',
      cron: '0 7 * * 1-5',
      timeZone: 'Europe/Vienna',
      missed: 'run-once',
      overlap: true,
      task: { prompt: 'Look around', priority: -3, timeoutS: 3600, allowedTools: ['Read'], model: null },
    },
  ])
  expect((await ccm('schedule')).stdout).toMatch(
    /morning +0 7 \* \* 1-5 +Mon 2026-11-23 07:00 GMT\+1 +skipped +app +Look around\n/,
  )
  const shown = await ccm('schedule', 'show', 'mor')
  expect(shown.stdout).toMatch(/missed +run-once/)
  expect(shown.stdout).toContain('Thu 1970-01-01 01:00 GMT+1  skipped    It was not over.')
  expect((await ccm('schedule', 'pause', 'morning')).stdout).toBe('The schedule morning is paused.\n')
  expect((await ccm('schedule', 'list')).stdout).toContain('paused')
  expect((await ccm('schedule', 'resume', 'morning')).stdout).toContain('goes on; next Mon')
  expect((await ccm('schedule', 'run', 'morning')).stdout).toBe('t9\n')
  expect((await ccm('schedule', 'remove', 'morning')).stdout).toContain('is removed; its tasks stay')
  expect((await ccm('schedule')).stdout).toContain('No schedules.')
  expect(calls.map(([name]) => name)).toEqual([
    'addSchedule',
    'setPaused',
    'setPaused',
    'runSchedule',
    'removeSchedule',
  ])
})

test('without --tz the times are of this machine, without --project of this directory', async () => {
  const { home, calls } = await serveDaemon()
  await createCommandLine(home, { cwd: '/code/x' }).ccm('schedule', 'add', '@daily', 'x', '--json')
  const timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone
  expect(calls[0]).toMatchObject([
    'addSchedule',
    { dir: '/code/x', project: null, timeZone, missed: 'skip', overlap: false },
  ])
})

test.each([
  [['schedule', 'ad'], 'There is no command "schedule ad"; did you mean "schedule add"?', 2],
  [['schedule', 'add', 'bad', 'x', '--project', 'app'], '"bad" is not five fields.', 2],
  [['schedule', 'add', '@daily', ' ', '--project', 'app'], 'The prompt is empty.', 2],
  [['schedule', 'add', '@daily', 'x', '--missed', 'twice'], 'Allowed choices are skip, run-once', 2],
  [['schedule', 'show', 'morningg'], 'There is no schedule morningg; did you mean morning?', 1],
  [['schedule', 'pause', 'm'], 'More than one schedule has a name that starts with m: morning, month.', 1],
])('%j is refused with a sentence', async (argv, sentence, code) => {
  const { home } = await serveDaemon()
  for (const name of ['morning', 'month']) await createCommandLine(home).ccm(...ADD, '--name', name)
  const ended = await createCommandLine(home).ccm(...argv)
  expect(ended.stderr).toContain(sentence)
  expect(ended.code).toBe(code)
})

test('on a terminal a list is as wide as the terminal, wide characters counted twice', async () => {
  const { home } = await serveDaemon()
  const { cellsOf } = await import('../../src/cli/terminal.ts')
  await createCommandLine(home).ccm('schedule', 'add', '@daily', '漢字'.repeat(100), '--project', 'app')
  const { stdout } = await createCommandLine(home, { terminal: true }).ccm('schedule')
  // oxlint-disable-next-line no-control-regex -- colours
  for (const line of stdout.replaceAll(/\x1b\[\d+m/g, '').split('\n'))
    expect(cellsOf(line)).toBeLessThanOrEqual(100)
  expect(stdout).toContain('漢字')
  expect((await createCommandLine(home).ccm('schedule')).stdout).toContain('漢字'.repeat(100))
})
