import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { CcmError, messageOf } from '../core/errors.ts'

const TAIL_BYTES = 2000

/**
 * Runs a project's setup commands in a new tree, one after the other, by `sh -c`; their output goes to `logFile`.
 * Throws SETUP_FAILED with the command, how it ended and the end of its output. Every process of a command that
 * takes too long, or is aborted, is killed with it.
 */
export async function runSetup(options: {
  dir: string
  commands: readonly string[]
  timeoutMs: number
  env: Record<string, string>
  logFile: string
  signal: AbortSignal
}): Promise<void> {
  const { dir, commands, timeoutMs, env, logFile, signal } = options
  const log = await open(logFile, 'a+', 0o600)
  try {
    for (const command of commands) {
      await log.write(`$ ${command}\n`)
      const how = await runOne(command)
      if (how === null) continue
      const { size } = await log.stat()
      const start = Math.max(0, size - TAIL_BYTES)
      const { buffer, bytesRead } = await log.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, start)
      const tail = buffer.subarray(0, bytesRead).toString('utf8').trimEnd()
      throw new CcmError(
        'SETUP_FAILED',
        `The setup command \`${command}\` ${how}. The end of its output:\n${tail}`,
        {
          remedy: `All of it is in ${logFile}.`,
        },
      )
    }
  } finally {
    await log.close()
  }

  /** Null when it succeeded, else how it ended. */
  async function runOne(command: string): Promise<string | null> {
    // A group of its own, and no pipes: what it started ends with it, and holds nothing up.
    const child = spawn('sh', ['-c', command], {
      cwd: dir,
      env,
      stdio: ['ignore', log.fd, log.fd],
      detached: true,
    })
    const ended = new Promise<{ exitCode: number | null; by: string | null; error: string | null }>(
      (resolve) => {
        child.once('error', (error) => resolve({ exitCode: null, by: null, error: messageOf(error) }))
        child.once('exit', (exitCode, by) => resolve({ exitCode, by, error: null }))
      },
    )
    let timedOut = false
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It is gone already.
      }
    }
    const timer = setTimeout(() => {
      timedOut = true
      kill()
    }, timeoutMs)
    signal.addEventListener('abort', kill, { once: true })
    if (signal.aborted) kill()
    const { exitCode, by, error } = await ended
    clearTimeout(timer)
    signal.removeEventListener('abort', kill)
    // What it left in the background would work in the tree beside the agent.
    kill()
    if (timedOut) return `took longer than ${Math.round(timeoutMs / 1000)} s`
    if (signal.aborted) return 'was ended'
    if (exitCode === 0) return null
    if (error !== null) return `could not be started: ${error}`
    return exitCode === null ? `was ended by ${by ?? 'a signal'}` : `ended with exit code ${exitCode}`
  }
}
