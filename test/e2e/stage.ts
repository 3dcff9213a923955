import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { sendSignal } from '../../src/agent/process-tree.ts'
import { serveScriptedModel, type ModelScript, type ScriptedModel } from '../../src/demo/model.ts'
import type { StatusJson } from '../../src/protocol/daemon.ts'
import type { HookEventJson } from '../../src/protocol/hook-event.ts'
import type { StateChangeJson } from '../../src/protocol/state-change.ts'
import type { TaskJson } from '../../src/protocol/task.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const CLAUDE = resolve(
  ROOT,
  `node_modules/@anthropic-ai/claude-code-${process.platform}-${process.arch}/claude`,
)

export type Ran = { code: number; stdout: string; stderr: string }

/**
 * A whole ccm of its own: home, config folder, tmux server, daemon, a work directory, the real Claude Code and
 * a scripted model on loopback in place of Anthropic's. Nothing of the machine's own login is ever seen: the
 * environment is made from nothing.
 */
export type Stage = {
  home: string
  work: string
  folder: string
  model: ScriptedModel
  env: Record<string, string>
  /** Runs `ccm ARGS` to its end; never rejects for an exit code. */
  ccm: (
    args: string[],
    options?: { input?: string; cwd?: string; timeoutMs?: number; env?: Record<string, string> },
  ) => Promise<Ran>
  /** Starts `ccm ARGS` and lets it run. */
  start: (args: string[]) => { kill: (signal: NodeJS.Signals) => void; ended: Promise<Ran> }
  /** `ccm ARGS --json`, parsed. */
  json: <T>(args: string[]) => Promise<T>
  /** Adds a task in `work`, trusted, and answers it as it was inserted. */
  add: (prompt: string, ...args: string[]) => Promise<TaskJson>
  task: (id: string) => Promise<TaskJson>
  events: (id: string) => Promise<HookEventJson[]>
  chain: (id: string) => Promise<StateChangeJson[]>
  status: () => Promise<StatusJson>
  /** Waits until the task is as wanted; throws with its explain chain after the limit. */
  until: (id: string, wanted: (task: TaskJson) => boolean, limitMs?: number) => Promise<TaskJson>
  /** Waits for a final status. */
  end: (id: string, limitMs?: number) => Promise<TaskJson>
  /** Ends the daemon without a word, as a crash does. */
  crash: () => Promise<void>
  /** `tmux ARGS` on the stage's own server. */
  tmux: (...args: string[]) => Promise<string>
  /** Pids of processes that carry this task's mark. */
  processesOf: (taskId: string) => number[]
  [Symbol.asyncDispose]: () => Promise<void>
}

/** Puts up a stage. `config` is appended to its ccm.toml, `claudeEnv` to [claude.env]. */
export async function createStage(
  script: ModelScript,
  options: {
    config?: string
    claudeEnv?: Record<string, string>
    claude?: string
    git?: boolean
    /** Every task works in `work` itself, one at a time, as with --here; default: each in a tree of its own. */
    here?: boolean
    apiKey?: string | null
    /** The ccm to run, an installed one say; default: this checkout's. */
    program?: string
  } = {},
): Promise<Stage> {
  // Short: a socket's path has at most 103 bytes.
  const folder = mkdtempSync(join(tmpdir(), 'ccm-e2e-'))
  const home = join(folder, 'home')
  const work = join(folder, 'work')
  for (const dir of [work, join(folder, 'user')]) mkdirSync(dir)
  const model = await serveScriptedModel(script)
  const mark = randomBytes(6).toString('hex')
  const key = options.apiKey === undefined ? 'sk-ant-dummy-0000000000000000000000000000' : options.apiKey
  const claudeEnv = {
    ...(key === null ? {} : { ANTHROPIC_API_KEY: key }),
    ANTHROPIC_BASE_URL: model.url,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_AUTOUPDATER: '1',
    CLAUDE_CODE_MAX_RETRIES: '1',
    IS_SANDBOX: '1',
    CCM_TEST_MARK: mark,
    ...options.claudeEnv,
  }
  const toml = [
    '[http]',
    'port = 0',
    '[claude]',
    `command = ${JSON.stringify(options.claude ?? CLAUDE)}`,
    '[claude.env]',
    ...Object.entries(claudeEnv).map(([name, value]) => `${name} = ${JSON.stringify(value)}`),
    options.config ?? '',
  ]
  writeFileSync(join(folder, 'ccm.toml'), toml.join('\n'), { mode: 0o600 })
  const env = {
    PATH: `${join(ROOT, 'node_modules/.bin')}:/usr/local/bin:/usr/bin:/bin`,
    HOME: join(folder, 'user'),
    USER: 'tester',
    LANG: 'C.UTF-8',
    CCM_HOME: home,
    CCM_CONFIG: join(folder, 'ccm.toml'),
    // Tests end daemons as crashes do, and start the next one themselves.
    CCM__DAEMON__RESTART: 'false',
    CCM_TEST_MARK: mark,
  }
  if (options.git !== false) await initRepository(work, env)

  const withHere = (args: string[]) =>
    options.here === true && args[0] === 'run' ? ['run', '--here', ...args.slice(1)] : args
  const call = (
    args: string[],
    more: { cwd?: string; input?: string; timeout?: number; env?: Record<string, string> } = {},
  ) =>
    execa(process.execPath, [options.program ?? join(ROOT, 'bin/ccm.js'), ...withHere(args)], {
      env: { ...env, ...more.env },
      extendEnv: false,
      cwd: more.cwd ?? work,
      reject: false,
      stripFinalNewline: false,
      ...(more.input === undefined ? { stdin: 'ignore' } : { input: more.input }),
      ...(more.timeout === undefined ? {} : { timeout: more.timeout }),
    })
  const ccm: Stage['ccm'] = async (args, { input, cwd, timeoutMs = 60_000, env: extra } = {}) => {
    const result = await call(args, {
      timeout: timeoutMs,
      ...(cwd === undefined ? {} : { cwd }),
      ...(input === undefined ? {} : { input }),
      ...(extra === undefined ? {} : { env: extra }),
    })
    return toRan(result)
  }
  const json: Stage['json'] = async (args) => {
    const { code, stdout, stderr } = await ccm([...args, '--json'])
    try {
      return JSON.parse(stdout)
    } catch {
      throw new Error(
        `ccm ${args.join(' ')} --json: exit ${code}, stdout ${stdout.slice(0, 500)}, stderr ${stderr.slice(0, 1000)}`,
      )
    }
  }
  const task = (id: string) => json<TaskJson>(['show', id])
  // A process for each look was most of the load of a test: 0.2 s of CPU, ten times a second.
  const look = async (id: string): Promise<TaskJson> => {
    try {
      const { port } = JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')) as { port: number }
      const authorization = `Bearer ${readFileSync(join(home, 'token'), 'utf8').trim()}`
      const reply = await fetch(`http://127.0.0.1:${port}/api/tasks/${id}`, { headers: { authorization } })
      if (reply.ok) return (await reply.json()) as TaskJson
    } catch {
      // No daemon at this moment: the command line knows what to do.
    }
    return task(id)
  }
  const until: Stage['until'] = async (id, wanted, limitMs = 30_000) => {
    const end = Date.now() + limitMs
    for (;;) {
      const now = await look(id)
      if (wanted(now)) return now
      if (Date.now() > end) {
        const { stdout } = await ccm(['explain', id])
        const screen = await ccm(['show', id])
        throw new Error(
          `the task did not get there in ${limitMs} ms:\n${stdout}\n${screen.stdout}\n${daemonLog(home)}`,
        )
      }
      await sleep(100)
    }
  }
  const pidOfDaemon = () => Number(JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')).pid)

  return {
    home,
    work,
    folder,
    model,
    env,
    ccm,
    start(args) {
      const child = call(args)
      return { kill: (signal) => void child.kill(signal), ended: ranOf(child) }
    },
    json,
    add: async (prompt, ...args) => {
      const { code, stdout, stderr } = await ccm([
        'run',
        '--no-wait',
        '--json',
        '--trust',
        '--dir',
        work,
        ...args,
        '--',
        prompt,
      ])
      if (code !== 0) throw new Error(`ccm run: exit ${code}: ${stderr}\n${daemonLog(home)}`)
      return JSON.parse(stdout) as TaskJson
    },
    task,
    events: (id) => json(['events', id]),
    chain: async (id) => (await json<{ chain: StateChangeJson[] }>(['explain', id])).chain,
    status: () => json(['status']),
    until,
    end: (id, limitMs = 40_000) =>
      until(id, ({ status }) => status !== 'queued' && status !== 'running', limitMs),
    async crash() {
      const pid = pidOfDaemon()
      process.kill(pid, 'SIGKILL')
      while (isAlive(pid)) await sleep(10)
    },
    async tmux(...args) {
      const { stdout } = await execa('tmux', ['-S', join(home, 'tmux/tmux.sock'), ...args], {
        env,
        extendEnv: false,
      })
      return stdout
    },
    processesOf: (taskId) => marked(`CCM_TASK_ID=${taskId}`),
    async [Symbol.asyncDispose]() {
      if (existsSync(join(home, 'daemon.json'))) await ccm(['stop'], { env: { CCM_NO_AUTOSTART: '1' } })
      const find = () => marked(`CCM_TEST_MARK=${mark}`)
      for (let left = find(); left.length > 0; left = find()) {
        for (const pid of left) sendSignal(pid, 'SIGKILL')
        await sleep(20)
      }
      // After the daemon, which would start it again; its environment has no mark.
      await execa('tmux', ['-S', join(home, 'tmux/tmux.sock'), 'kill-server'], {
        reject: false,
        env,
        extendEnv: false,
      })
      await model.close()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function ranOf(child: Promise<Parameters<typeof toRan>[0]>): Promise<Ran> {
  return toRan(await child)
}

function toRan(result: { exitCode?: number | undefined; stdout?: unknown; stderr?: unknown }): Ran {
  return { code: result.exitCode ?? -1, stdout: String(result.stdout), stderr: String(result.stderr) }
}

async function initRepository(work: string, env: Record<string, string>): Promise<void> {
  writeFileSync(join(work, 'parser.ts'), 'export const answer = 41\n')
  const git = (...args: string[]) =>
    execa('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
      cwd: work,
      env,
      extendEnv: false,
    })
  await git('init', '-q')
  await git('add', '-A')
  await git('commit', '-qm', 'start')
}

/** The daemon's newest log lines, for a test that failed. */
export function daemonLog(home: string): string {
  const file = join(home, 'daemon.log')
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(-20).join('\n') : ''
}

function marked(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      if (pid === process.pid) return false
      try {
        return `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`.includes(`\0${text}\0`) && isAlive(pid)
      } catch {
        return false
      }
    })
}

/** True for a process that still runs; one that only waits to be reaped is dead. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
  } catch {
    return false
  }
}

/** A stage whose agents work in `work` itself, as with --here: for tests that look at files while an agent works. */
export function createStageHere(
  script: ModelScript,
  options: Parameters<typeof createStage>[1] = {},
): Promise<Stage> {
  return createStage(script, { ...options, here: true })
}
