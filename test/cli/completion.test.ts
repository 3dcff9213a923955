import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { execa } from 'execa'
import { createCommandLine, serveDaemon, temporaryFolder } from './command-line.ts'

async function completed(home: string, ...words: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await createCommandLine(home).ccm('complete', '--', ...words)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.split('\n').filter(Boolean)
}
const values = async (home: string, ...words: string[]) =>
  (await completed(home, ...words)).map((line) => line.split('\t')[0])

test.each([
  [['sta'], ['status', 'start']],
  [
    ['projects', 's'],
    ['show', 'set'],
  ],
  [['tasks', '--stat'], ['--status']],
  [['tasks', '--status', 'r'], ['running']],
  [['tasks', '--status=r'], ['--status=running']],
  [['tasks', '--status', '=', 'r'], ['running']],
  [['run', 'x', '--permission-mode', 'ac'], ['acceptEdits']],
  [['run', 'x', '--dir', '/tm'], [':dirs']],
  [['projects', 'add', ''], [':dirs']],
  [['projects', 'show', ''], ['app']],
  [['projects', 'show', 'app', ''], []],
  [['projects', 'set', 'app', 'max_r'], ['max_running=']],
  [['run', '--project', 'a'], ['app']],
  [['completion', 'z'], ['zsh']],
  [['nothing', ''], []],
  [['run', ''], []],
])('%j is completed to %j', async (words, expected) => {
  const { home } = await serveDaemon()
  expect(await values(home, ...words)).toEqual(expected)
})

test('ids are those the command can use, with status and prompt as plain text', async () => {
  const daemon = await serveDaemon()
  daemon.move('a1', { status: 'running', prompt: 'work \u001b[2J\n$(touch x)' })
  daemon.move('a2', { status: 'failed', prompt: 'over' })
  daemon.move('b3', { status: 'queued', prompt: 'later' })
  expect(await completed(daemon.home, 'show', 'a')).toEqual([
    'a2\tfailed: over',
    'a1\trunning: work $(touch x)',
  ])
  expect(await values(daemon.home, 'retry', '')).toEqual(['a2'])
  expect(await values(daemon.home, 'cancel', '')).toEqual(['b3', 'a1'])
  expect(await values(daemon.home, 'attach', '')).toEqual(['a1'])
})

test(
  'without a daemon, and with one that does not answer, it is silent and soon over',
  { retry: 2 },
  async () => {
    expect(await values(temporaryFolder(), 'show', '')).toEqual([])
    const server = createServer(() => undefined)
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    const home = temporaryFolder()
    writeFileSync(join(home, 'token'), 'x')
    writeFileSync(
      join(home, 'daemon.json'),
      JSON.stringify({ pid: 1, host: '127.0.0.1', port, version: '1' }),
    )
    const began = performance.now()
    expect(await values(home, 'show', '')).toEqual([])
    // Below the 2 s that other commands wait.
    expect(performance.now() - began).toBeLessThan(1800)
  },
)

const SHELLS = ['bash', 'zsh', 'fish'] as const
const installed = (shell: string) => {
  try {
    execFileSync(shell, ['-c', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const START = {
  bash: 'bash --norc --noprofile -i',
  zsh: 'zsh -f -i',
  fish: 'fish --no-config -i',
}

/** The shell in a real terminal, with its completion of ccm on and this checkout's ccm on PATH. */
async function openShell(shell: (typeof SHELLS)[number], home: string) {
  const folder = temporaryFolder()
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const program = resolve(import.meta.dirname, '../../bin/ccm.js')
  writeFileSync(join(bin, 'ccm'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, {
    mode: 0o755,
  })
  const script = join(folder, `ccm.${shell}`)
  writeFileSync(script, (await createCommandLine(home).ccm('completion', shell)).stdout)
  const env = {
    PATH: `${bin}:/usr/local/bin:/usr/bin:/bin`,
    HOME: folder,
    CCM_HOME: home,
    LANG: 'C.UTF-8',
    HISTFILE: '/dev/null',
  }
  const tmux = (...args: string[]) =>
    execa('tmux', ['-S', join(folder, 't'), '-f', '/dev/null', ...args], { env, extendEnv: false })
  await tmux('new-session', '-d', '-x', '120', '-y', '40', START[shell])
  onTestFinished(() => tmux('kill-server').then(() => undefined))
  const sees = async (texts: string[], pressing?: string) => {
    let pressedAt = performance.now()
    await expect
      .poll(
        async () => {
          const { stdout } = await tmux('capture-pane', '-p')
          // A key pressed while the shell still asks would make it begin anew.
          if (pressing !== undefined && performance.now() - pressedAt > AGAIN_MS) {
            await tmux('send-keys', pressing)
            pressedAt = performance.now()
          }
          return stdout
        },
        { timeout: 40_000, interval: 100 },
      )
      .toSatisfy((screen: string) => texts.every((text) => screen.includes(text)))
  }
  const type = (text: string, ...keys: string[]) =>
    tmux('send-keys', '-l', text).then(() => tmux('send-keys', ...keys))
  // Sourced twice, as a person does who sources a changed file again.
  await type(`source ${script}; source ${script}; echo rea""dy`, 'Enter')
  await sees(['\nready'])
  return { tmux, type, sees, bait: join(folder, 'bait') }
}

const AGAIN_MS = 4000

for (const shell of SHELLS) {
  const missing = !installed(shell)
  if (missing) console.warn(`SKIPPED: ${shell} is not installed, so its completion is not run.`)
  test.skipIf(missing)(
    `${shell} completes commands, live ids and names on a terminal, and runs nothing that was typed`,
    { timeout: 180_000, retry: 1 },
    async () => {
      const daemon = await serveDaemon()
      daemon.move('abc1', { status: 'running', prompt: 'one' })
      daemon.move('abd2', { status: 'queued', prompt: 'two' })
      const { tmux, type, sees, bait } = await openShell(shell, daemon.home)
      await type('ccm show ab', 'Tab')
      // bash lists at the second Tab, and drops one that comes while it is still at the first.
      await sees(['abc1', 'abd2'], 'Tab')
      await tmux('send-keys', 'C-u')
      await type('ccm projects tru', 'Tab')
      await sees(['ccm projects trust'])
      await type('ap', 'Tab')
      await sees(['ccm projects trust app'])
      await tmux('send-keys', 'C-u')
      await type('ccm tasks --status=succ', 'Tab')
      await sees(['--status=succeeded'])
      await tmux('send-keys', 'C-u')
      await type(`ccm show $(touch ${bait}) --js`, 'Tab')
      await sees(['--json'])
      expect(existsSync(bait)).toBe(false)
    },
  )
}
