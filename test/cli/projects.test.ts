import { mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { createCommandLine, serveDaemon, temporaryFolder } from './command-line.ts'

const changesOf = (calls: unknown[][]) =>
  calls.filter(([name]) => name === 'updateProject').map((call) => call[2])

test('settings are set by key=value, lists grow and shrink, and show prints what is set', async () => {
  const { home, calls } = await serveDaemon()
  const set = (...words: string[]) => createCommandLine(home).ccm('projects', 'set', 'app', ...words)
  const first = await set(
    'max_running=2',
    'timeout_s=1h',
    'paused=yes',
    'max-cost-usd=2.50',
    'setup=npm ci',
    'setup=make a,b',
    'max_tokens=1.5M',
  )
  expect(first).toMatchObject({ code: 0, stderr: '' })
  await set(
    'setup+=last',
    'setup-=npm ci',
    'copy=[".env",".npmrc"]',
    'copy+=[ab]*',
    '--unset',
    'max_running',
    '--unset',
    'paused',
  )
  expect(changesOf(calls)).toEqual([
    {
      maxRunning: 2,
      timeoutS: 3600,
      paused: true,
      maxCostUsd: 2.5,
      setup: ['npm ci', 'make a,b'],
      maxTokens: 1_500_000,
    },
    { setup: ['make a,b', 'last'], copy: ['.env', '.npmrc', '[ab]*'], maxRunning: null, paused: false },
  ])
  const { stdout } = await createCommandLine(home).ccm('projects', 'show', 'app')
  expect(stdout).toMatch(/timeout_s +1h 00m\n/)
  expect(stdout).toMatch(/setup +make a,b {2}last\n/)
  expect(stdout).not.toContain('max_running')
  const json = await createCommandLine(home).ccm('projects', 'show', 'app', '--json')
  expect(JSON.parse(json.stdout)).toMatchObject({ name: 'app', timeout_s: 3600, paused: false })
})

test.each([
  [['max_runing=1'], '"max_runing" is no setting of a project; did you mean max_running?'],
  [['--unset', 'modell'], '"modell" is no setting of a project; did you mean model?'],
  [['paused'], '"paused" is not KEY=VALUE.'],
  [['paused=maybe'], 'paused takes yes or no, not "maybe".'],
  [['timeout_s=soon'], 'timeout_s takes a duration'],
  [['max_running=two'], 'max_running takes a whole number'],
  [['model+=x'], 'model is no list: write model=VALUE.'],
  [['copy-=.env'], 'copy does not hold ".env".'],
  [['model=a', 'model=b'], 'model is given twice.'],
  [['model=a', '--unset', 'model'], 'model is both given and unset.'],
  [['max_running=0'], 'max_running must be at least 1.'],
  [['permission_mode=yolo'], 'permission_mode must be one of acceptEdits'],
])('projects set app %j is refused, exit 2, and nothing is changed', async (words, sentence) => {
  const { home, calls } = await serveDaemon()
  const { code, stderr } = await createCommandLine(home).ccm('projects', 'set', 'app', 'priority=3', ...words)
  expect(stderr).toContain(sentence)
  expect(code).toBe(2)
  expect(calls).toEqual([])
})

test('every fault of one command line is told at once', async () => {
  const { home } = await serveDaemon()
  const { stderr } = await createCommandLine(home).ccm('projects', 'set', 'app', 'paused=maybe', 'mdel=x')
  expect(stderr).toContain('paused takes yes or no')
  expect(stderr).toContain('did you mean model?')
})

test('a misspelt project is told its nearest; a project with living tasks stays', async () => {
  const { home } = await serveDaemon()
  const line = () => createCommandLine(home)
  for (const words of [
    ['show', 'ap'],
    ['set', 'ap', 'paused=yes'],
    ['remove', 'ap'],
    ['trust', 'ap'],
  ]) {
    const { code, stderr } = await line().ccm('projects', ...words)
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('did you mean app?') })
  }
  expect(await line().ccm('projects', 'remove', 'busy')).toMatchObject({ code: 1, stdout: '' })
  const gone = await line().ccm('projects', 'remove', 'app')
  expect(gone.stdout).toContain('These stay: /code/app')
})

test('who forbids something is told what agents that run keep; who allows or looks is not', async () => {
  const { home } = await serveDaemon()
  const rules = (...words: string[]) => createCommandLine(home).ccm('projects', 'rules', 'app', ...words)
  const forbids = await rules('--deny', 'Bash(rm:*)', '--json')
  expect(forbids.stderr).toContain('Agents that run already')
  expect(JSON.parse(forbids.stdout)).toEqual([])
  for (const words of [[], ['--allow', 'Bash(ls:*)']])
    expect(await rules(...words)).toMatchObject({ stderr: '' })
})

function projectFolder(): string {
  const folder = join(realpathSync(temporaryFolder()), 'lib')
  mkdirSync(folder)
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ scripts: { test: 'vitest', lint: 'eslint \u001b[2J .', deploy: 'x' } }),
  )
  return folder
}

test('off a terminal the suggested rules are only named; --allow-suggested allows them', async () => {
  const { home, calls } = await serveDaemon()
  const dir = projectFolder()
  const told = await createCommandLine(home).ccm('projects', 'add', dir)
  expect(told.stdout).toContain('Bash(npm test:*)')
  expect(told.stdout).toContain('--allow-suggested')
  expect(changesOf(calls)).toEqual([])
  await createCommandLine(home).ccm('projects', 'add', dir, '--allow-suggested')
  const rules = ['Bash(npm test:*)', 'Bash(npm run test:*)', 'Bash(npm run lint:*)']
  expect(changesOf(calls)).toEqual([{ allowedTools: rules }])
  const json = await createCommandLine(home).ccm('projects', 'add', dir, '--json')
  expect(JSON.parse(json.stdout)).toMatchObject({ name: 'lib', suggested_tools: rules })
})

test('on a terminal each rule is asked for by itself, and Ctrl-C keeps what was confirmed', async () => {
  const { home, calls } = await serveDaemon()
  const line = createCommandLine(home, { terminal: true })
  const ended = line.ccm('projects', 'add', projectFolder())
  await line.sees('Allow npm test?')
  line.type('y')
  await line.sees('Allow npm run test?')
  line.type('n')
  await line.sees('Allow npm run lint?')
  line.type('\u0003')
  expect((await ended).code).toBe(0)
  expect(changesOf(calls)).toEqual([{ allowedTools: ['Bash(npm test:*)'] }])
  expect(line.printed.stdout).toContain('eslint \\x1b[2J .')
})

test('Enter allows nothing while the directory is not trusted', async () => {
  const { home, calls } = await serveDaemon()
  const line = createCommandLine(home, { terminal: true })
  const ended = line.ccm('projects', 'add', projectFolder())
  for (const command of ['npm test', 'npm run test', 'npm run lint']) {
    await line.sees(`Allow ${command}?`)
    line.type('\r')
  }
  await ended
  expect(changesOf(calls)).toEqual([])
})

test('a pipe, a folder or a huge file in place of a package.json is read as nothing', async () => {
  const { home } = await serveDaemon()
  const folder = temporaryFolder()
  execFileSync('mkfifo', [join(folder, 'package.json')])
  mkdirSync(join(folder, 'pyproject.toml'))
  writeFileSync(join(folder, 'Makefile'), 'test:\n'.repeat(100_000))
  const { code, stdout } = await createCommandLine(home).ccm('projects', 'add', folder)
  expect({ code, lines: stdout.trimEnd().split('\n').length }).toEqual({ code: 0, lines: 1 })
})
