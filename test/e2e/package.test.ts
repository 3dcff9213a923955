import { readFileSync, readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createStage } from './stage.ts'

const ROOT = resolve(import.meta.dirname, '../..')
let folder = ''
let installed = ''

// What a user does: npm packs, npm installs into an empty prefix. npm keeps the machine's own configuration,
// so packages come from where they come on this machine; its cache is asked first.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ccm-package-'))
  const env = { PATH: `${dirname(process.execPath)}:${process.env['PATH']}` }
  // npm would not: the project's .npmrc switches scripts off.
  await execa(process.execPath, ['build.ts'], { cwd: ROOT })
  await execa('npm', ['pack', '--pack-destination', folder], { cwd: ROOT, env })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? ''
  const prefix = join(folder, 'prefix')
  const install = ['install', '--global', '--prefix', prefix, '--prefer-offline', '--no-audit', '--no-fund']
  const end = await execa('npm', [...install, join(folder, tarball)], { cwd: folder, env, reject: false })
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/.test(end.stderr)) {
    console.warn(`SKIPPED: the package's dependencies cannot be had here: ${end.stderr.slice(0, 500)}`)
    return
  }
  if (end.exitCode !== 0) throw new Error(end.stderr)
  installed = join(prefix, 'lib/node_modules/ccm-orchestrator')
}, 180_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

beforeEach((context) => {
  if (installed === '') context.skip('the package could not be installed here, see above')
})

/** An environment without anything of this checkout or of the user. */
const cleanEnv = (path: string) => ({ PATH: path, HOME: folder, LANG: 'C.UTF-8' })

test('the tarball holds the program and nothing else: no sources, tests, Node or paths of this machine', () => {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.startsWith('node_modules') && statSync(join(installed, name)).isFile())
    .toSorted()
  expect(files.filter((name) => !name.startsWith('dist/'))).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'bin/ccm.js',
    'bin/keep-daemon.sh',
    'hooks/guard-agent.sh',
    'hooks/record-event.sh',
    'launchd/ccm.daemon.plist',
    ...['postgres', 'sqlite'].flatMap((store) =>
      readdirSync(join(ROOT, 'migrations', store))
        .toSorted()
        .map((name) => `migrations/${store}/${name}`),
    ),
    'package.json',
    'systemd/ccm-tmux.service',
    'systemd/ccm.service',
  ])
  expect(files).toContain('dist/cli.js')
  expect(files.filter((name) => name.startsWith('dist/') && !/^dist\/[\w-]+\.js$/.test(name))).toEqual([])
  const odd = files.filter((name) => {
    const text = readFileSync(join(installed, name), 'utf8')
    return text.includes(ROOT) || (homedir() !== '/' && text.includes(`${homedir()}/`))
  })
  expect(odd).toEqual([])
  expect(Math.max(...files.map((name) => statSync(join(installed, name)).size))).toBeLessThan(3_000_000)
  // Neither a Node nor a Claude Code came along with it.
  const packages = readdirSync(join(installed, 'node_modules'))
  expect(
    packages.filter((name) => /^node(-linux|-darwin|-win|$)|ccm-dev-node|^@anthropic/.test(name)),
  ).toEqual([])
})

test('the installed ccm shows its help', async () => {
  const ccm = join(folder, 'prefix/bin/ccm')
  const { stdout } = await execa(ccm, ['--help'], {
    env: cleanEnv(`${dirname(process.execPath)}:/usr/bin:/bin`),
    extendEnv: false,
    cwd: folder,
  })
  expect(stdout).toContain('Usage: ccm')
  expect(stdout).toContain('ccm run "Fix the failing test in parser.ts"')
})

test('the installed ccm carries out a whole task', async () => {
  await using stage = await createStage(
    ({ turn }) =>
      turn === 0
        ? {
            kind: 'message',
            tools: [{ name: 'Write', input: { file_path: 'made.txt', content: 'made\n' } }],
          }
        : { kind: 'message', text: 'Made it.\n[DONE]' },
    { program: join(installed, 'bin/ccm.js') },
  )
  const run = await stage.ccm(['run', '--trust', '--json', '--permission-mode', 'acceptEdits', 'Make a file'])
  expect(run.stderr).toBe('')
  expect(run.code).toBe(0)
  expect(JSON.parse(run.stdout)).toMatchObject({
    status: 'succeeded',
    attempt: 1,
    result: { text: 'Made it.', files: [{ path: 'made.txt', change: 'added', added: 1 }] },
  })
  // The hooks that told so came from the installed script.
  const { id } = JSON.parse(run.stdout) as { id: string }
  expect((await stage.events(id)).map(({ hook_event_name }) => hook_event_name)).toContain('Stop')
})

test('where there is no Claude Code at all, the installed ccm keeps the task and says how to get one', async () => {
  await using stage = await createStage(() => ({ kind: 'message', text: '[DONE]' }), {
    program: join(installed, 'bin/ccm.js'),
  })
  const env = { PATH: '/usr/bin:/bin', CCM__CLAUDE__COMMAND: '' }
  const run = await stage.ccm(['run', '--no-wait', '--json', '--trust', 'Do it'], { env })
  const { id } = JSON.parse(run.stdout) as { id: string }
  const task = await stage.until(id, ({ state_reason }) => state_reason?.startsWith('claude:') === true)
  expect(task.status).toBe('queued')
  expect(task.state_reason).toContain('`claude` is not on PATH')
  expect(task.state_reason).toContain('npm install -g @anthropic-ai/claude-code')
})

test('under an old Node without a newer one in reach it says kindly what it needs', async (context) => {
  const old = '/usr/bin/node'
  const { stdout: version } = await execa(old, ['--version'], { reject: false })
  const major = Number.parseInt((version ?? '').slice(1), 10)
  if (!(major >= 18 && major < 24)) {
    context.skip(`${old} is ${version || 'missing'}, not a Node 18 to 23`)
  }
  const { exitCode, stderr, stdout } = await execa(old, [join(installed, 'bin/ccm.js'), '--help'], {
    env: cleanEnv('/usr/bin:/bin'),
    extendEnv: false,
    cwd: folder,
    reject: false,
  })
  expect(exitCode).toBe(78)
  expect(stdout).toBe('')
  expect(stderr).toContain(`this is Node ${version.slice(1)}, and ccm needs Node 24 or newer`)
  expect(stderr).toContain('nvm install 24')
})
