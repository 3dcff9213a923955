import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { CcmError } from '../core/errors.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

const WAIT_MS = 60_000

/** `ccm stop`: ends the daemon and waits until its process is gone. */
export const stopCommand: DefineCommand = (context, done) =>
  createCommand('stop', 'Stop the daemon; its running tasks go back to the queue.', [
    'ccm stop',
    'ccm stop --keep-agents',
  ])
    .option('--keep-agents', 'leave the agents at work; the next daemon adopts them')
    .action(async (options: { keepAgents?: boolean; json?: boolean }) => {
      const daemon = await context.findDaemon()
      const keeper = await context.keeper()
      if (daemon === null) {
        const silent = await context.silentDaemon()
        if (silent !== null) throw silent
        // It died, and the shell that starts it again waits for that.
        if (keeper !== null) {
          process.kill(keeper, 'SIGTERM')
          await waitUntilGone(keeper)
        }
        if (options.json) printJson(context, { stopped: false, pid: null })
        else context.stdout.write('No daemon runs.\n')
        return done(EXIT.ok)
      }
      await daemon.api.shutdown(options.keepAgents === true ? 'keep' : 'end')
      await waitUntilGone(daemon.pid)
      if (keeper !== null) await waitUntilGone(keeper)
      if (options.json) printJson(context, { stopped: true, pid: daemon.pid })
      else context.stdout.write(`The daemon (pid ${daemon.pid}) has stopped.\n`)
      done(EXIT.ok)
    })

/** Waits until no process has this id; throws DAEMON_UNREACHABLE after a minute. */
export async function waitUntilGone(pid: number, waitMs = WAIT_MS): Promise<void> {
  const until = Date.now() + waitMs
  while (isAlive(pid)) {
    if (Date.now() > until) {
      throw new CcmError('DAEMON_UNREACHABLE', `The daemon (pid ${pid}) was asked to end and still runs.`, {
        remedy: `Look into its log, or end it by hand: kill ${pid}`,
      })
    }
    await sleep(50)
  }
}

/**
 * True while a process has this id, whoever it belongs to. One that ended and that nobody waited for (in a
 * container whose first process does not) is not alive.
 */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  try {
    // The name may hold anything, also parentheses; the state follows the last one.
    return !/\) Z [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}
