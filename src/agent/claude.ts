import { createRequire } from 'node:module'
import { dirname, join, delimiter } from 'node:path'
import { accessSync, constants, statSync } from 'node:fs'
import { execa } from 'execa'
import { CcmError, messageOf } from '../core/errors.ts'

/** The oldest Claude Code whose screens, hooks and dialogs ccm was tested against. */
export const CLAUDE_MINIMUM_VERSION = '2.1.328'

/** A Claude Code that runs on this machine. */
export type Claude = { path: string; version: string }

/**
 * Finds Claude Code: the configured command, else `claude` on PATH, else the development dependency. A
 * configured command is used or refused, never replaced by another.
 *
 * @throws CLAUDE_MISSING or CLAUDE_TOO_OLD with what was tried.
 */
export async function findClaude(options: {
  command: string
  path: string
  signal?: AbortSignal
}): Promise<Claude> {
  const tried: string[] = []
  let tooOld: Claude | null = null
  const candidates =
    options.command === '' ? defaultCandidates(options.path) : resolveOnPath(options.command, options.path)
  for (const candidate of candidates) {
    try {
      const claude = { path: candidate, version: await versionOf(candidate, options.signal) }
      if (compareVersions(claude.version, CLAUDE_MINIMUM_VERSION) >= 0) return claude
      tooOld ??= claude
    } catch (error) {
      tried.push(`${candidate}: ${firstLine(messageOf(error))}`)
    }
  }
  if (tooOld !== null) {
    throw new CcmError(
      'CLAUDE_TOO_OLD',
      `Claude Code ${tooOld.version} at ${tooOld.path} is too old: ccm needs ${CLAUDE_MINIMUM_VERSION} or newer.`,
      { remedy: 'Run `claude update`, or set [claude] command to a newer one.' },
    )
  }
  const where = options.command === '' ? '`claude` is not on PATH' : `[claude] command is ${options.command}`
  throw new CcmError('CLAUDE_MISSING', `No Claude Code that runs: ${[where, ...tried].join('; ')}.`, {
    remedy: 'Install it (npm install -g @anthropic-ai/claude-code), or set [claude] command to its path.',
  })
}

/**
 * Finds it as `findClaude` does, and asks it for its version again only when its file is another: after an update.
 * Who asks while it is being asked waits for that answer: of one that hangs there is one process.
 */
export function createClaudeFinder(where: { command: string; path: string }): () => Promise<Claude> {
  let known: { claude: Claude; print: string } | null = null
  let asking: Promise<Claude> | null = null
  const ask = async () => {
    try {
      const claude = await findClaude(where)
      known = { claude, print: printOf(claude.path) }
      return claude
    } finally {
      asking = null
    }
  }
  return async () => {
    if (known !== null && printOf(known.claude.path) === known.print) return known.claude
    return (asking ??= ask())
  }
}

function printOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined ? 'gone' : `${found.ino} ${found.mtimeMs} ${found.size}`
}

function defaultCandidates(path: string): string[] {
  return [...resolveOnPath('claude', path), ...developmentClaude()]
}

function resolveOnPath(command: string, path: string): string[] {
  if (command.includes('/')) return [command]
  return path
    .split(delimiter)
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => join(folder, command))
    .filter(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** With install scripts off, npm's `claude` is only a hint; the program is in the platform package. */
function developmentClaude(): string[] {
  const require = createRequire(import.meta.url)
  const musl = process.platform === 'linux' && isExecutable('/lib/ld-musl-x86_64.so.1') ? '-musl' : ''
  try {
    const name = `@anthropic-ai/claude-code-${process.platform}-${process.arch}${musl}/package.json`
    return [join(dirname(require.resolve(name)), 'claude')]
  } catch {
    return []
  }
}

async function versionOf(path: string, signal?: AbortSignal): Promise<string> {
  // `--version` takes 11 ms and reads no login; the limit is for a command that is something else.
  const { stdout } = await execa(path, ['--version'], {
    timeout: 10_000,
    stdin: 'ignore',
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', DISABLE_AUTOUPDATER: '1' },
    extendEnv: false,
    maxBuffer: 10_000,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  })
  const version = /\b(\d+\.\d+\.\d+)\b/.exec(stdout)?.[1]
  if (version === undefined) throw new Error(`its --version says ${JSON.stringify(stdout.slice(0, 80))}`)
  return version
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  for (const index of [0, 1, 2]) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? ''
}
