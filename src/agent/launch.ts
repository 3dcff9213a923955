import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Attempt } from '../core/agent/attempt.ts'
import type { Markers } from '../core/record/marker.ts'
import type { Task } from '../core/task/task.ts'
import type { Claude } from './claude.ts'
import { seedConfigFolder } from './config-folder.ts'
import { agentEnvironment, takeLogin } from './environment.ts'
import { gitTopLevel } from './git.ts'
import type { Guard } from './guard.ts'
import { lostFilesOf, makeLostFiles } from './lost-files.ts'
import { endingInstructions, resumePrompt, toArgument } from './prompt.ts'
import { attemptSettings } from './settings.ts'
import { scopeName } from './scope.ts'
import { startScript } from './start-script.ts'

/** What an attempt's folder holds, by name. */
export function attemptFiles(
  folder: string,
): Record<'prompt' | 'settings' | 'script' | 'login' | 'exit' | 'oom' | 'spool' | 'before', string> {
  return {
    prompt: join(folder, 'prompt.txt'),
    settings: join(folder, 'settings.json'),
    script: join(folder, 'start.sh'),
    login: join(folder, 'login'),
    exit: join(folder, 'exit-status'),
    oom: join(folder, 'out-of-memory'),
    spool: join(folder, 'spool'),
    before: join(folder, 'before'),
  }
}

export type LaunchOptions = {
  task: Task
  attempt: Attempt
  /** The project's own directory; the attempt may work in a worktree of it. */
  projectDir: string
  claude: Claude
  /** The text came from outside: settings, hooks, servers and memory of project and user are off. */
  restricted: boolean
  /** `[claude] args`, before our own. */
  args: string[]
  model: string | null
  allowedTools: string[]
  disallowedTools: string[]
  inherited: Record<string, string>
  claudeEnv: Record<string, string>
  /** Goes on with the attempt's session, which was interrupted for this reason; null: starts a new one. */
  resume: string | null
  /** More variables for this agent only. */
  extra?: Record<string, string>
  markers: Markers
  hookScript: string
  /** What runs a program in a scope, but for the scope's name; null or absent: agents have none. */
  scope?: string[] | null
  /** Null or absent: nobody else can have the task. */
  guard?: Guard | null
  ask: { url: string; secret: string; holdMs: number } | null
  /** Rules of things Claude Code has to ask for even where its mode would not: a rule of the project decides then. */
  askFor: string[]
  /** Tools whose every use the rules look at first, as Claude Code matches them; null: none. */
  lookAt: string | null
}

/** No settings but ours, no servers, no commands and skills of the project. */
const RESTRICTED = ['--setting-sources', '', '--strict-mcp-config', '--disable-slash-commands']

/**
 * Writes the attempt's folder: prompt, settings, spool, start script, and a config folder where the agent
 * has a login of its own. Returns the program for the window. Starts nothing.
 */
export async function prepareLaunch(options: LaunchOptions): Promise<string[]> {
  const { task, attempt } = options
  const files = attemptFiles(attempt.folder)
  mkdirSync(files.spool, { recursive: true, mode: 0o700 })
  chmodSync(attempt.folder, 0o700)
  const { login, rest: claudeEnv } = takeLogin(options.claudeEnv)
  const text = options.resume === null ? task.prompt : resumePrompt(options.resume, options.markers)
  writeFileSync(files.prompt, text, { mode: 0o600 })
  if (attempt.configDir !== null) {
    // Claude Code keeps what it knows of a worktree under the top of the source: trust belongs there as well.
    const dirs = [...new Set([attempt.dir, options.projectDir])]
    const tops = await Promise.all(dirs.map(gitTopLevel))
    const trusted = [...dirs, ...tops.filter((top) => top !== null)]
    seedConfigFolder(attempt.configDir, { apiKey: claudeEnv['ANTHROPIC_API_KEY'], trusted })
  }
  const prompt = toArgument(text, files.prompt)
  const settings = attemptSettings({
    hookScript: options.hookScript,
    spoolFolder: files.spool,
    lostFiles: makeLostFiles(lostFilesOf(attempt, tmpdir())),
    ask: options.ask,
    askFor: options.askFor,
    lookAt: options.lookAt,
    restricted: options.restricted,
  })
  writeFileSync(files.settings, JSON.stringify(settings), { mode: 0o600 })
  const allowed = prompt.inFile ? [...options.allowedTools, `Read(/${files.prompt})`] : options.allowedTools
  const argv = [
    options.claude.path,
    ...options.args,
    ...(options.restricted ? RESTRICTED : []),
    '--settings',
    files.settings,
    '--permission-mode',
    attempt.permissionMode,
    options.resume === null ? '--session-id' : '--resume',
    attempt.claudeSessionId,
    ...(options.model === null ? [] : ['--model', options.model]),
    ...allowed.flatMap((rule) => ['--allowedTools', rule]),
    ...options.disallowedTools.flatMap((rule) => ['--disallowedTools', rule]),
    '--append-system-prompt',
    endingInstructions(options.markers),
    '--',
    prompt.argument,
  ]
  const { inherited, extra } = options
  const environment = agentEnvironment({
    inherited,
    claudeEnv,
    configDir: attempt.configDir,
    taskId: task.id,
    attempt: attempt.attempt,
    ...(extra === undefined ? {} : { extra }),
  })
  const scope =
    options.scope == null
      ? null
      : { argv: [...options.scope, `--unit=${scopeName(attempt)}`], oomFile: files.oom }
  const guard = options.guard?.(attempt, scope !== null) ?? null
  const script = startScript({
    environment,
    dir: attempt.dir,
    argv,
    exitFile: files.exit,
    login: login === null ? null : { variable: login.variable, file: files.login },
    scope,
    guard,
  })
  if (login !== null) writeFileSync(files.login, login.secret, { mode: 0o600 })
  writeFileSync(files.script, script, { mode: 0o600 })
  return ['/bin/sh', files.script]
}

/** Removes what held secrets or was only for the start; prompt and spool stay. */
export function cleanLaunch(folder: string): void {
  const files = attemptFiles(folder)
  rmSync(files.script, { force: true })
  rmSync(files.settings, { force: true })
  rmSync(files.login, { force: true })
}
