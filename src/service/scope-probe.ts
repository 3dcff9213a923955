import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'

/** What an agent's scope may use, as systemd writes it. */
export type ScopeLimits = { memoryHigh: string; memoryMax: string; tasksMax: number }

/** Program and arguments that run what follows them in a scope, but for its name; or why none can be had. */
export type ScopeProbe = { argv: string[]; reason: null } | { argv: null; reason: string }

const PROBE_MS = 5000

/**
 * Tries whether systemd gives this user scopes with these limits, by making one around `true`. `systemctl` may
 * exist where systemd does not run, and a user's manager may be out of reach: only a try tells.
 */
export async function probeScope(
  limits: ScopeLimits,
  env: Record<string, string | undefined>,
  isRoot: boolean,
): Promise<ScopeProbe> {
  if (!existsSync('/run/systemd/system')) return { argv: null, reason: 'systemd does not run here' }
  const base = ['systemd-run', ...(isRoot ? [] : ['--user']), '--scope', '--quiet', '--collect']
  const bounds = [
    `MemoryHigh=${limits.memoryHigh}`,
    `MemoryMax=${limits.memoryMax}`,
    `TasksMax=${limits.tasksMax}`,
  ]
  let reason = ''
  // Scopes know OOMPolicy from some version on; before, one killed process never ended the others.
  for (const more of [['OOMPolicy=continue'], []]) {
    const argv = [...base, ...[...bounds, ...more].flatMap((bound) => ['-p', bound])]
    const said = await run([...argv, '--', 'true'], env)
    if (said === null) return { argv, reason: null }
    reason = said
  }
  return { argv: null, reason: `systemd gives no scope: ${reason}` }
}

/** Null when it ended well, else its words. */
function run(argv: string[], env: Record<string, string | undefined>): Promise<string | null> {
  const [program = '', ...args] = argv
  return new Promise((resolve) => {
    execFile(program, args, { env, timeout: PROBE_MS }, (error, _, stderr) => {
      resolve(error === null ? null : stderr.trim().split('\n', 1)[0] || error.message)
    })
  })
}
