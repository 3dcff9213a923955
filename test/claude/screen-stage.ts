import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { serveScriptedModel, type ModelScript } from '../../src/demo/model.ts'

/** Size of the pane and the client's renderer. */
export type Format = { cols: number; rows: number; tui: 'default' | 'fullscreen' }

/** How Claude Code is set up and started for one recording. */
export type Setup = {
  script?: ModelScript
  /** Like `script`, for one that must know the client's config folder. */
  scriptIn?: (configFolder: string) => ModelScript
  prompt?: string
  mode?: string
  args?: string[]
  /** What it logs in with; a key is approved beforehand unless `ask` names the dialog to leave in. */
  login?: 'key' | 'oauth' | 'none'
  ask?: 'onboarding' | 'trust' | 'api-key' | 'bypass'
  settings?: Record<string, unknown>
  env?: Record<string, string>
}

/** One running client in one pane. Texts are what `capture-pane -p` prints, scrubbed. */
export type Stage = {
  format: Format
  /** The client's work folder. */
  folder: string
  capture: () => Promise<string>
  /** Waits for a screen that matches, up to 20 s, and throws with the last screen otherwise. */
  until: (pattern: RegExp | ((screen: string) => boolean), timeoutMs?: number) => Promise<void>
  /** Waits until the client's own session file says so. */
  untilStatus: (status: string) => Promise<void>
  keys: (...keys: string[]) => Promise<void>
  type: (text: string) => Promise<void>
  paste: (text: string) => Promise<void>
  signal: (name: NodeJS.Signals) => Promise<void>
  resize: (cols: number, rows: number) => Promise<void>
}

const API_KEY = 'sk-ant-api03-dummy-0123456789abcdefghij'

/** The installed client: its program and version. */
export async function findClient(): Promise<{ path: string; version: string }> {
  const name = `@anthropic-ai/claude-code-${process.platform}-${process.arch}`
  const file = createRequire(import.meta.url).resolve(`${name}/package.json`)
  const { version } = JSON.parse(await readFile(file, 'utf8')) as { version: string }
  return { path: join(dirname(file), 'claude'), version }
}

/**
 * Runs `play` with the real client in a tmux server of its own, with a temporary home and a clean
 * environment, against a scripted model on loopback. Everything it started is gone afterwards.
 */
export async function onStage(
  client: string,
  format: Format,
  setup: Setup,
  play: (stage: Stage) => Promise<void>,
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'ccm-screens-'))
  const script = setup.scriptIn?.(join(root, 'config')) ?? setup.script
  const model = await serveScriptedModel(script ?? (() => ({ kind: 'message', text: 'Done.' })))
  const env = { ...cleanEnvironment(root, model.url), ...loginOf(setup), ...setup.env }
  const tmux = async (...args: string[]) =>
    execa('tmux', ['-S', join(root, 'tmux'), '-f', '/dev/null', ...args], { env, extendEnv: false })
  try {
    await prepareHome(root, setup, format)
    const size = ['-x', String(format.cols), '-y', String(format.rows)]
    const args = ['--settings', join(root, 'settings.json'), '--permission-mode', setup.mode ?? 'default']
    if (setup.args) args.push(...setup.args)
    if (setup.prompt !== undefined) args.push('--', setup.prompt)
    // The first pane waits for the second command, so that the options hold before the client starts.
    await tmux('new-session', '-d', '-s', 'stage', ...size, '-c', join(root, 'app'), 'cat', '-')
    await tmux('set-option', '-g', 'remain-on-exit', 'on')
    await tmux('respawn-pane', '-k', '-t', 'stage', '-c', join(root, 'app'), client, ...args)
    await play(toStage(root, format, tmux))
  } finally {
    const { stdout } = await tmux('list-panes', '-a', '-F', '#{pane_pid}').catch(() => ({ stdout: '' }))
    await tmux('kill-server').catch(() => undefined)
    await untilGone(stdout.split('\n').map(Number))
    await model.close()
    await rm(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
  }
}

function toStage(
  root: string,
  format: Format,
  tmux: (...args: string[]) => Promise<{ stdout: string }>,
): Stage {
  const capture = async () => {
    const { stdout } = await tmux('capture-pane', '-p', '-t', 'stage')
    // Same length as the real name, so that the layout stays as drawn.
    return `${stdout.replaceAll(basename(root), 'ccm-screens-XXXXXX')}\n`
  }
  const pid = async () => Number((await tmux('list-panes', '-a', '-F', '#{pane_pid}')).stdout)
  return {
    format,
    folder: join(root, 'app'),
    capture,
    until: async (pattern, timeoutMs = 20_000) => {
      const deadline = Date.now() + timeoutMs
      let screen = ''
      while (Date.now() < deadline) {
        screen = await capture()
        if (typeof pattern === 'function' ? pattern(screen) : pattern.test(screen)) return
        await sleep(30)
      }
      throw new Error(`not seen: ${String(pattern)}\n${screen.trimEnd()}`)
    },
    untilStatus: async (status) => {
      const deadline = Date.now() + 20_000
      while (Date.now() < deadline) {
        if ((await readStatus(root)) === status) return
        await sleep(30)
      }
      throw new Error(`status ${status} not seen\n${(await capture()).trimEnd()}`)
    },
    keys: async (...keys) => void (await tmux('send-keys', '-t', 'stage', ...keys)),
    type: async (text) => void (await tmux('send-keys', '-t', 'stage', '-l', '--', text)),
    paste: async (text) => {
      await writeFile(join(root, 'paste'), text)
      await tmux('load-buffer', '-b', 'text', join(root, 'paste'))
      await tmux('paste-buffer', '-p', '-d', '-b', 'text', '-t', 'stage')
    },
    signal: async (name) => void process.kill(await pid(), name),
    resize: async (cols, rows) =>
      void (await tmux('resize-window', '-t', 'stage', '-x', String(cols), '-y', String(rows))),
  }
}

async function readStatus(root: string): Promise<string | null> {
  const folder = join(root, 'config', 'sessions')
  try {
    const file = (await readdir(folder)).find((name) => /^\d+\.json$/.test(name)) ?? ''
    const session = JSON.parse(await readFile(join(folder, file), 'utf8')) as { status?: string }
    return session.status ?? null
  } catch {
    return null
  }
}

function cleanEnvironment(root: string, url: string): Record<string, string> {
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: join(root, 'home'),
    CLAUDE_CONFIG_DIR: join(root, 'config'),
    LANG: 'C.UTF-8',
    TERM: 'xterm-256color',
    SHELL: '/bin/sh',
    TZ: 'UTC',
    IS_SANDBOX: '1',
    ANTHROPIC_BASE_URL: url,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_AUTOUPDATER: '1',
    CLAUDE_CODE_MAX_RETRIES: '1',
  }
}

function loginOf({ login = 'key' }: Setup): Record<string, string> {
  if (login === 'none') return {}
  return login === 'key'
    ? { ANTHROPIC_API_KEY: API_KEY }
    : { CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy-0123456789' }
}

async function prepareHome(root: string, { ask, settings }: Setup, format: Format): Promise<void> {
  const app = join(root, 'app')
  for (const name of ['home', 'config', 'app', 'lib']) await mkdir(join(root, name))
  await writeFile(join(app, 'retries.ts'), 'export const retries = 3\nexport const base = 100\n')
  const config = {
    hasCompletedOnboarding: ask !== 'onboarding',
    projects: ask === 'trust' ? {} : { [app]: { hasTrustDialogAccepted: true } },
    customApiKeyResponses: { approved: ask === 'api-key' ? [] : [API_KEY.slice(-20)], rejected: [] },
  }
  await writeFile(join(root, 'config', '.claude.json'), JSON.stringify(config))
  await writeFile(
    join(root, 'settings.json'),
    JSON.stringify({
      skipDangerousModePermissionPrompt: ask !== 'bypass',
      tui: format.tui,
      spinnerTipsEnabled: false,
      ...settings,
    }),
  )
}

async function untilGone(pids: number[]): Promise<void> {
  const deadline = Date.now() + 5_000
  for (const pid of pids.filter((pid) => pid > 1)) {
    while (isAlive(pid)) {
      if (Date.now() > deadline) process.kill(pid, 'SIGKILL')
      await sleep(50)
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
