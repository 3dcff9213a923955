import { mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises'
import { getCompileCacheDir } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { CcmError } from '../core/errors.ts'
import { serveScriptedModel } from '../demo/model.ts'
import { createDemoScript, DEMO_FILES, DEMO_PROMPT, DEMO_TEST } from '../demo/scenario.ts'
import type { CliContext, DefineCommand } from './context.ts'
import { createDaemonAccess } from './daemon-access.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { run } from './run.ts'
import { isAlive, waitUntilGone } from './stop.ts'

const LONGEST_MS = 180_000

/** `ccm demo`: one whole task without any account. */
export const demoCommand: DefineCommand = (context, done) =>
  createCommand('demo', 'Run a whole task without any account: the real Claude Code with a scripted model.', [
    'ccm demo',
  ]).action(async (options: { json?: boolean }) => done(await demo(context, options.json === true)))

/**
 * Runs the demo in a folder of its own (home, configuration, project, sockets) and removes it with all its
 * processes, however it ends. Answers the exit code of its task.
 */
async function demo(context: CliContext, json: boolean): Promise<number> {
  const say = (text: string) => {
    if (!json) context.stdout.write(`${text}\n`)
    else if (context.stderr.isTTY === true) context.stderr.write(`${text}\n`)
  }
  const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<number>()
  const offInterrupt = context.onInterrupt(() => interrupt(EXIT.detached))
  const deadline = setTimeout(() => interrupt(EXIT.failed), LONGEST_MS)
  // Short, because the path of a socket may have only 107 bytes.
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'ccm-demo-')))
  const spawned: number[] = []
  const model = await serveScriptedModel(createDemoScript())
  const env = demoEnvironment(context.env, folder)
  const home = join(folder, 'home')
  const configFile = join(folder, 'ccm.toml')
  const onSpawn = (pid: number) => void spawned.push(pid)
  const access = createDaemonAccess(
    async () => home,
    async () => ({ home, configFile, launcher: context.launcher, env, onSpawn }),
    { autostart: true },
  )
  try {
    say('The demo runs the real Claude Code in a temporary folder. Its model is a script on this machine:')
    say('no account, no network and no money are used.\n')
    const whole = async () => {
      await prepare(folder, env, await demoConfig(context, model.url, folder))
      return run({ ...context, cwd: join(folder, 'project'), ...access }, DEMO_PROMPT, {
        allow: [`Bash(${DEMO_TEST})`],
        trust: true,
        wait: true,
        input: false,
        json,
        kept: false,
      })
    }
    const code = await Promise.race([whole(), interrupted])
    if (code === EXIT.ok) {
      say(
        '\nThe demo is over and everything it made is removed. Tokens and cost are inventions of the script.',
      )
      say('Your turn: ccm run "What does this project do?" --dir YOUR/PROJECT')
    } else {
      const how = code === EXIT.detached ? 'was stopped' : 'did not succeed'
      say(`\nThe demo ${how}. Everything it made is being removed.`)
    }
    return code
  } finally {
    await endDaemon(access, spawned)
    await endTmux(folder, env)
    await model.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    clearTimeout(deadline)
    offInterrupt()
  }
}

async function prepare(folder: string, env: Record<string, string>, config: string): Promise<void> {
  const project = join(folder, 'project')
  for (const name of ['project', 'home', 'user', 'tmp']) await mkdir(join(folder, name), { mode: 0o700 })
  await writeFile(join(folder, 'ccm.toml'), config, { mode: 0o600 })
  for (const [name, text] of Object.entries(DEMO_FILES)) await writeFile(join(project, name), text)
  const git = async (...args: string[]) => {
    const end = await execa('git', args, {
      cwd: project,
      env,
      extendEnv: false,
      stdin: 'ignore',
      reject: false,
    })
    if (end.exitCode === 0) return
    throw new CcmError(
      'INTERNAL',
      `The demo's project could not be made: git ${args.join(' ')}: ${end.stderr}`,
      {
        remedy: 'ccm needs git.',
      },
    )
  }
  await git('init', '--quiet')
  await git('add', '.')
  const author = ['-c', 'user.name=ccm demo', '-c', 'user.email=demo@localhost', '-c', 'commit.gpgsign=false']
  await git(...author, 'commit', '--quiet', '--message', 'A program and its test')
}

async function demoConfig(context: CliContext, modelUrl: string, folder: string): Promise<string> {
  const command = await context.claudeCommand().catch(() => null)
  const text = (value: string) => JSON.stringify(value)
  return [
    '[http]',
    'port = 0',
    '[agents]',
    // One small agent: it must not wait for the gigabyte that real work is kept away from.
    'min_free_memory_mb = 128',
    '[timeouts]',
    'task = "2m"',
    '[claude]',
    ...(command === null ? [] : [`command = ${text(command)}`]),
    '[claude.env]',
    `ANTHROPIC_BASE_URL = ${text(modelUrl)}`,
    'ANTHROPIC_API_KEY = "sk-ant-demo-this-is-not-a-real-key"',
    `CLAUDE_CODE_TMPDIR = ${text(join(folder, 'tmp'))}`,
    'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC = "1"',
    'CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL = "1"',
    'DISABLE_TELEMETRY = "1"',
    'DISABLE_AUTOUPDATER = "1"',
    'DISABLE_ERROR_REPORTING = "1"',
    'CLAUDE_CODE_MAX_RETRIES = "3"',
    '',
  ].join('\n')
}

// Only what programs need to run: no key, token or setting of the user may reach the demo's agent.
function demoEnvironment(env: CliContext['env'], folder: string): Record<string, string> {
  const names = ['PATH', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TERM', 'TZ']
  const kept = names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]))
  const cache = getCompileCacheDir()
  return {
    ...Object.fromEntries(kept),
    HOME: join(folder, 'user'),
    TMPDIR: join(folder, 'tmp'),
    GIT_CONFIG_NOSYSTEM: '1',
    ...(cache !== undefined && { NODE_COMPILE_CACHE: cache }),
  }
}

async function endDaemon(access: Pick<CliContext, 'findDaemon'>, spawned: number[]): Promise<void> {
  try {
    const daemon = await access.findDaemon()
    if (daemon !== null) {
      await daemon.api.shutdown('end')
      await waitUntilGone(daemon.pid, 20_000)
    }
  } catch {
    // It ends by signals below.
  }
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of spawned) {
      if (!isAlive(pid)) continue
      process.kill(pid, signal)
      await waitUntilGone(pid, 5000).catch(() => {})
    }
  }
}

// The daemon ends its own tmux server. One that was killed leaves it, with its socket in the demo's folder.
async function endTmux(folder: string, env: Record<string, string>): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  for (const entry of entries.filter((entry) => entry.isSocket())) {
    const socket = join(entry.parentPath, entry.name)
    await execa('tmux', ['-S', socket, 'kill-server'], {
      env,
      extendEnv: false,
      reject: false,
      timeout: 5000,
    })
  }
}
