import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CANNOT_ENTER, NO_ROOM, startScript } from './start-script.ts'

// Prints its arguments, one variable and its folder so that every byte can be compared.
const WITNESS = `process.stdout.write(JSON.stringify({ argv: process.argv.slice(1), value: process.env.VALUE, tmux: process.env.TMUX ?? null, dir: process.cwd() }))`

const ODD = [
  '',
  ' ',
  "it's",
  "''",
  '"$HOME" `id` $(touch x) #(touch x) ${PATH}',
  '-n',
  '--',
  '/help',
  '!!',
  'a\nb\n',
  '\\',
  'ends with \\',
  ';',
  'a;',
  '*?[a-z]~',
  '\x1b[31m\x07\t\r',
  'héllo 😀 日本',
  '%s %%',
  'x'.repeat(100_000),
]

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'ccm-script-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

function run(options: { argv?: string[]; value?: string; dir?: string; shell?: string[]; scope?: string[] }) {
  const home = folder()
  const script = join(home, 'start.sh')
  const exitFile = join(home, "an exit'file")
  const text = startScript({
    environment: { VALUE: options.value ?? '', PATH: process.env['PATH'] ?? '' },
    dir: options.dir ?? home,
    argv: options.argv ?? [process.execPath, '-e', WITNESS, '--'],
    exitFile,
    scope: options.scope === undefined ? null : { argv: options.scope, oomFile: join(home, 'oom') },
  })
  writeFileSync(script, text)
  // Also for a shell of another user.
  chmodSync(home, 0o777)
  const [shell = '/bin/sh', ...args] = options.shell ?? []
  const ran = spawnSync(shell, [...args, script], { encoding: 'utf8', env: { TMUX: '/tmp/x,1,0' }, cwd: '/' })
  const status = existsSync(exitFile) ? readFileSync(exitFile, 'utf8') : null
  return { home, stdout: ran.stdout, stderr: ran.stderr, status }
}

test.each([['/bin/sh'], ['bash', '--posix']])(
  'every odd value arrives byte for byte, as argument and in the environment (%s)',
  (...shell) => {
    const { stdout, status } = run({ argv: [process.execPath, '-e', WITNESS, '--', ...ODD], shell })
    expect(JSON.parse(stdout).argv).toEqual(ODD)
    expect(status).toBe('0\n')
    for (const value of ODD) expect(JSON.parse(run({ value, shell }).stdout).value).toBe(value)
  },
)

// What a program finds: its input, the login's descriptor to the end and then once more, and its environment.
const READER = `const { readFileSync } = require('node:fs');
const fd = Number(process.env.THE_LOGIN);
const read = () => readFileSync('/dev/fd/' + fd, 'utf8');
process.stdout.write(JSON.stringify({ first: read(), again: read(), stdin: readFileSync(0, 'utf8'),
  environment: JSON.stringify(process.env) }));
process.exit(5)`

test.each([['/bin/sh'], ['bash', '--posix']])(
  'a login is read once from its descriptor: then it is in no file, no pipe and no environment (%s)',
  (...shell) => {
    const home = folder()
    const file = join(home, "the login's file")
    const login = { variable: 'THE_LOGIN', file }
    const exitFile = join(home, 'exit')
    const argv = [process.execPath, '-e', READER]
    writeFileSync(file, 'sk-odd \'"$x` é')
    const script = join(home, 'start.sh')
    const environment = { PATH: process.env['PATH'] ?? '' }
    writeFileSync(script, startScript({ environment, dir: home, argv, exitFile, login }))
    const [program = '', ...args] = shell
    const ran = spawnSync(program, [...args, script], { encoding: 'utf8', input: 'typed', cwd: '/' })
    expect(ran.stderr).toBe('')
    expect(JSON.parse(ran.stdout)).toMatchObject({
      first: 'sk-odd \'"$x` é',
      again: '',
      stdin: 'typed',
      environment: expect.not.stringContaining('sk-odd'),
    })
    expect(existsSync(file)).toBe(false)
    expect(readFileSync(exitFile, 'utf8')).toBe('5\n')
  },
)

test('the variables of tmux are not passed on', () => {
  expect(JSON.parse(run({}).stdout).tmux).toBeNull()
})

test.each(["it's", '#(touch x)', '$(touch x)', '-P', '~', 'a\nb', 'ends in blank ', '😀', '%s', 'a;b'])(
  'a directory named %j is entered as it is',
  (name) => {
    const dir = join(folder(), name)
    mkdirSync(dir)
    expect(JSON.parse(run({ dir }).stdout).dir).toBe(dir)
  },
)

test.each([0, 1, 3, 126, 127, 255])('the exit status %i is left in the file', (code) => {
  expect(run({ argv: [process.execPath, '-e', `process.exit(${code})`] }).status).toBe(`${code}\n`)
})

test('a program that a signal ended leaves 128 and the signal; one that is missing 127', () => {
  expect(run({ argv: [process.execPath, '-e', "process.kill(process.pid, 'SIGKILL')"] }).status).toBe('137\n')
  expect(run({ argv: ['/nonexistent/claude'] }).status).toBe('127\n')
})

test('a directory that cannot be entered starts nothing and says so by its status', () => {
  const { stdout, status } = run({ dir: join(folder(), 'missing') })
  expect(stdout).toBe('')
  expect(status).toBe(`${CANNOT_ENTER}\n`)
})

test('a name that is no variable is refused before anything is written', () => {
  const options = { dir: '/', argv: ['true'], exitFile: '/dev/null' }
  for (const name of ['A B', '1A', 'A=B', 'A;id', '', "A'"]) {
    expect(() => startScript({ ...options, environment: { [name]: 'x' } })).toThrow('cannot be the name')
  }
})

test('in a scope it runs once, inside; where no scope comes it runs all the same', () => {
  const argv = ['/bin/sh', '-c', 'echo ran; exit 3']
  // `env` in the scope's place runs what follows.
  expect(run({ argv, scope: ['env'] })).toMatchObject({ stdout: 'ran\n', stderr: '', status: '3\n' })
  expect(run({ argv, scope: ['false'] })).toMatchObject({ stdout: 'ran\n', status: '3\n' })
  expect(run({ argv, scope: ['/nowhere/systemd-run'] })).toMatchObject({ stdout: 'ran\n', status: '3\n' })
})

test('what dies inside a scope without an exit status is not begun again outside', () => {
  const ran = run({ argv: ['/bin/sh', '-c', 'echo ran; kill -KILL $PPID'], scope: ['env'] })
  expect(ran).toMatchObject({ stdout: 'ran\n', status: null })
})

test('a TERM to the shell in the scope ends the agent with a status', () => {
  const argv = ['/bin/sh', '-c', 'kill -TERM $PPID; exit 5']
  expect(run({ argv, scope: ['env'] })).toMatchObject({ status: '5\n' })
})

const isRoot = process.getuid?.() === 0 && process.platform === 'linux'
const unlessRoot = isRoot ? '' : ' [only root can become another user]'
/** A user without anything: the limit counts for everybody but root. */
const ANOTHER = ['setpriv', '--reuid', '61235', '--regid', '61235', '--clear-groups']

test.skipIf(!isRoot)(
  `without room for an agent's processes none is started, and the script says so${unlessRoot}`,
  // Where sh is bash it tries for 15 s.
  { timeout: 60_000 },
  () => {
    const limited = (processes: number) => {
      const shell = [...ANOTHER, 'prlimit', `--nproc=${processes}:${processes}`, '/bin/sh']
      return run({ argv: ['/bin/sh', '-c', 'echo ran; exit 3'], shell })
    }
    // The script's own is one of them.
    for (const processes of [1, 2, 16])
      expect(limited(processes)).toMatchObject({ stdout: '', status: `${NO_ROOM}\n` })
    expect(limited(17)).toMatchObject({ stdout: 'ran\n', stderr: '', status: '3\n' })
  },
)

test.skipIf(!isRoot)(
  `without room inside a scope none is started outside either, and the script says so${unlessRoot}`,
  { timeout: 60_000 },
  () => {
    const limited = (processes: number) => {
      const scope = ['prlimit', `--nproc=${processes}:${processes}`]
      return run({ argv: ['/bin/sh', '-c', 'echo ran; exit 3'], shell: [...ANOTHER, '/bin/sh'], scope })
    }
    // The scripts outside and inside are two of them.
    for (const processes of [2, 17])
      expect(limited(processes)).toMatchObject({ stdout: '', status: `${NO_ROOM}\n` })
    expect(limited(18)).toMatchObject({ stdout: 'ran\n', stderr: '', status: '3\n' })
  },
)
