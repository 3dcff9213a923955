import { readFileSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { sendSignal, startOf } from './process-tree.ts'

/** What Claude Code says of its own session. */
export type SessionStatus = {
  pid: number
  status: 'busy' | 'idle' | 'waiting' | 'shell'
  waitingFor: string | null
}

/**
 * Reads `<config>/sessions/<pid>.json` of one session. Null while there is none: before the session began,
 * during the dialogs at start, after the end, and for a stale file of a killed process. A half-written file
 * reads as null too; the next look will see it whole.
 */
export function createSessionReader(
  configDir: string | null,
  sessionId: () => string,
): () => SessionStatus | null {
  const folder = join(configDir ?? process.env['CLAUDE_CONFIG_DIR'] ?? join(homedir(), '.claude'), 'sessions')
  let file: string | null = null

  // A session that is resumed after a kill has two files: the one of the killed process stays.
  function find(): string | null {
    for (const name of listJson(folder)) {
      const session = parseSession(join(folder, name))
      if (session?.['sessionId'] === sessionId() && isAlive(session)) return join(folder, name)
    }
    return null
  }

  return () => {
    file ??= find()
    const session = file === null ? null : parseSession(file)
    if (session === null || session['sessionId'] !== sessionId() || !isAlive(session)) {
      file = null
      return null
    }
    const { pid, status, waitingFor } = session
    if (typeof pid !== 'number' || !isStatus(status)) return null
    return { pid, status, waitingFor: typeof waitingFor === 'string' ? waitingFor : null }
  }
}

/** A turn that seems over is watched for so long. */
const IDLE_CONFIRM_MS = 1000

/** False: the session says that it is busy, for a second and longer. */
export async function isIdleSoon(read: () => SessionStatus | null): Promise<boolean> {
  const until = performance.now() + IDLE_CONFIRM_MS
  for (;;) {
    if (read()?.status !== 'busy') return true
    if (performance.now() > until) return false
    await new Promise((resolve) => setTimeout(resolve, 40))
  }
}

/** The very process that wrote the file: on Linux the start time it notes has to be that of the pid, too. */
function isAlive({ pid, procStart }: Record<string, unknown>): boolean {
  if (typeof pid !== 'number' || !sendSignal(pid, 0)) return false
  const startedAt = startOf(pid)
  return startedAt === null || typeof procStart !== 'string' || procStart === startedAt
}

function isStatus(value: unknown): value is SessionStatus['status'] {
  return value === 'busy' || value === 'idle' || value === 'waiting' || value === 'shell'
}

function listJson(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json'))
  } catch {
    return []
  }
}

function parseSession(file: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}
