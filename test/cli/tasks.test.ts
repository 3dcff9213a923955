import { expect, test } from 'vitest'
import { cellsOf } from '../../src/cli/terminal.ts'
import { createCommandLine, serveDaemon } from './command-line.ts'

const HOUR = 3_600_000
/** Without colour. */
// oxlint-disable-next-line no-control-regex -- colours
const plain = (text: string) => text.replaceAll(/\x1b\[\d+m/g, '')

test('--since takes a duration, a time and a date, and refuses anything else', async () => {
  const daemon = await serveDaemon()
  const now = Date.now()
  daemon.move('old', { createdAt: now - 5 * HOUR })
  daemon.move('new', { createdAt: now - HOUR })
  const ids = async (...argv: string[]) => {
    const { stdout } = await createCommandLine(daemon.home).ccm('tasks', '--json', ...argv)
    return (JSON.parse(stdout) as { id: string }[]).map(({ id }) => id)
  }
  expect(await ids('--since', '2h')).toEqual(['new'])
  expect(await ids('--since', '6h')).toEqual(['new', 'old'])
  expect(await ids('--since', new Date(now - 2 * HOUR).toISOString())).toEqual(['new'])
  expect(await createCommandLine(daemon.home).ccm('tasks', '--since', 'lately')).toMatchObject({ code: 2 })
})

test('--limit and --before page through all, --status and --project filter', async () => {
  const daemon = await serveDaemon()
  for (const id of ['a', 'b', 'c']) daemon.move(id, { status: id === 'b' ? 'failed' : 'queued' })
  const ids = async (...argv: string[]) => {
    const { stdout } = await createCommandLine(daemon.home).ccm('tasks', '--json', ...argv)
    return (JSON.parse(stdout) as { id: string }[]).map(({ id }) => id)
  }
  expect(await ids('--limit', '2')).toEqual(['c', 'b'])
  expect(await ids('--limit', '2', '--before', 'b')).toEqual(['a'])
  expect(await ids('--status', 'failed', '--project', 'app')).toEqual(['b'])
  const { stdout } = await createCommandLine(daemon.home, { terminal: true }).ccm('tasks', '--limit', '2')
  expect(stdout).toContain('More: ccm tasks --limit 2 --before b')
})

test('what a task says cannot turn around or paint what --json prints, and is read as it was', async () => {
  const daemon = await serveDaemon()
  const prompt = 'a\u009b31m\u202eb\u2066c\u2028d'
  daemon.move('a', { prompt })
  for (const argv of [['tasks'], ['show', 'a']]) {
    const { stdout } = await createCommandLine(daemon.home).ccm(...argv, '--json')
    expect(stdout).not.toMatch(/[\u0080-\u009f\u2028-\u202e\u2066-\u2069]/)
    expect(JSON.stringify(JSON.parse(stdout))).toContain(JSON.stringify(prompt))
  }
})

test('a project that does not exist is told its nearest instead of an empty list', async () => {
  const { home } = await serveDaemon()
  const { code, stderr } = await createCommandLine(home).ccm('tasks', '--project', 'ap')
  expect(code).toBe(1)
  expect(stderr).toContain('did you mean app?')
  for (const argv of [
    ['run', 'x', '--project', 'ap'],
    ['schedule', 'add', '@daily', 'x', '--project', 'ap'],
  ]) {
    expect((await createCommandLine(home).ccm(...argv)).stderr).toContain(
      'There is no project ap; did you mean app?',
    )
  }
  expect((await createCommandLine(home).ccm('tasks', '--project', 'app')).stdout).toBe('No such tasks.\n')
})

test('on a terminal a row is never wider than the terminal; elsewhere the prompt is whole', async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', { prompt: `漢字 ${'long '.repeat(30)}end` })
  const terminal = await createCommandLine(daemon.home, { terminal: true }).ccm('tasks')
  for (const line of plain(terminal.stdout).split('\n')) expect(cellsOf(line)).toBeLessThanOrEqual(100)
  expect((await createCommandLine(daemon.home).ccm('tasks')).stdout).toContain('long end\n')
})

test('--watch off a terminal prints a line for each change, each once, until Ctrl-C', async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', { prompt: 'one\u001b[2J' })
  const line = createCommandLine(daemon.home)
  const ended = line.ccm('tasks', '--watch')
  await line.sees('t1  queued')
  await expect.poll(() => daemon.listeners.size).toBeGreaterThan(0)
  daemon.agent('t1', 'working', 'busy')
  await line.sees('t1  running working')
  daemon.move('t1', { status: 'succeeded' })
  await line.sees('t1  succeeded')
  line.interrupt()
  const { code, stdout } = await ended
  expect(code).toBe(130)
  expect(stdout.trimEnd().split('\n')).toHaveLength(3)
  expect(stdout).not.toContain('\u001b')
})

test('--watch on a terminal draws the whole list again', async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', { prompt: 'one' })
  const line = createCommandLine(daemon.home, { terminal: true })
  const ended = line.ccm('tasks', '--watch')
  await line.sees('queued')
  await expect.poll(() => daemon.listeners.size).toBeGreaterThan(0)
  daemon.move('t1', { status: 'failed' })
  await line.sees('failed')
  line.interrupt()
  expect((await ended).stdout.split('\u001b[H\u001b[2J')).toHaveLength(3)
})

test.each([
  [['--color=never', 'tasks'], true, false],
  [['tasks', '--no-color'], true, false],
  [['tasks', '--color'], false, true],
  [['tasks', '--color=always'], false, true],
  [['tasks', '--color=auto'], true, true],
  [['tasks'], false, false],
])('%j on a terminal (%s) paints: %s', async (argv, terminal, painted) => {
  const daemon = await serveDaemon()
  daemon.move('t1', {})
  const { code, stdout } = await createCommandLine(daemon.home, { terminal }).ccm(...argv)
  expect(code).toBe(0)
  expect(stdout !== plain(stdout)).toBe(painted)
})

test('--color goes over NO_COLOR', async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', {})
  const env = { NO_COLOR: '1' }
  expect((await createCommandLine(daemon.home, { env }).ccm('tasks', '--color')).stdout).toContain('\u001b[')
})

test('a prefix of two ids names both; a name of another kind gets the command for its kind', async () => {
  const daemon = await serveDaemon()
  for (const id of ['abc', 'abd']) daemon.move(id, {})
  const show = (id: string) => createCommandLine(daemon.home).ccm('show', id)
  expect((await show('ab')).stderr).toMatch(/starts with ab: abc, abd\./)
  expect((await show('app')).stderr).toContain(
    'There is no task app; it is a project.\n     See: ccm projects show app',
  )
  await createCommandLine(daemon.home).ccm(
    'schedule',
    'add',
    '@daily',
    'x',
    '--project',
    'app',
    '--name',
    'nightly',
  )
  expect((await show('nightly')).stderr).toContain('ccm schedule show nightly')
})

test('workers names all workers of the queue with the tasks they hold', async () => {
  const daemon = await serveDaemon()
  for (const [id, worker] of [
    ['a', 'local'],
    ['b', 'other'],
    ['c', 'other'],
  ] as const) {
    daemon.move(id, { status: 'running', worker })
  }
  const { stdout } = await createCommandLine(daemon.home).ccm('workers', '--json')
  expect(JSON.parse(stdout)).toMatchObject([
    { worker: 'gone', task_ids: [], this_daemon: false },
    { worker: 'local', task_ids: ['a'], this_daemon: true },
    { worker: 'other', task_ids: ['c', 'b'], this_daemon: false },
  ])
  const lines = (await createCommandLine(daemon.home).ccm('workers')).stdout
  expect(lines).toMatch(/local +1 of 10 +this daemon +h +app +a\n/)
  expect(lines).toMatch(/other +2 of 10 +draining +h +app +c b\n/)
  expect(lines).toMatch(/gone +0 of 10 +away for 1h/)
})
