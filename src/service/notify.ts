import { execFile } from 'node:child_process'

/** What systemd hears of the daemon; without systemd every call does nothing. */
export type ServiceNotifier = {
  ready: (status: string) => Promise<void>
  /** Shown by `systemctl status`. */
  status: (text: string) => Promise<void>
  stopping: () => Promise<void>
  /**
   * Asks `sick` three times in each WatchdogSec and sends WATCHDOG only when it answers null; a sentence is shown
   * as the status instead, and systemd ends the process when that goes on. Returns how to stop it.
   */
  watch: (sick: () => Promise<string | null>) => () => void
}

const CALL_MS = 5000

/**
 * Talks to systemd through `systemd-notify`: Node has no datagram sockets of that kind, and a process of 10 ms
 * each 15 s needs no native package. The unit says NotifyAccess=all. Nothing here ever fails the daemon.
 */
export function createServiceNotifier(
  env: Record<string, string | undefined>,
  pid: number,
  program = 'systemd-notify',
): ServiceNotifier {
  const socket = env['NOTIFY_SOCKET']
  const send = (...assignments: string[]): Promise<void> =>
    new Promise((resolve) => {
      if (socket === undefined || socket === '') return resolve()
      const options = { env: { PATH: env['PATH'], NOTIFY_SOCKET: socket }, timeout: CALL_MS }
      execFile(program, ['--no-block', `MAINPID=${pid}`, ...assignments], options, () => resolve())
    })
  const oneLine = (text: string) => text.replaceAll(/[\r\n]+/g, ' ').slice(0, 300)
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? 0) / 1000
  // WATCHDOG_PID names another process where the variables were inherited.
  const watched = watchdogMs > 0 && (env['WATCHDOG_PID'] ?? String(pid)) === String(pid)
  return {
    ready: (status) => send('READY=1', `STATUS=${oneLine(status)}`),
    status: (text) => send(`STATUS=${oneLine(text)}`),
    stopping: () => send('STOPPING=1', 'STATUS=ending'),
    watch(sick) {
      if (!watched || socket === undefined) return () => undefined
      let asking = false
      let wasSick = false
      const ask = async () => {
        if (asking) return
        asking = true
        const why = await sick().catch((error: unknown) => String(error))
        asking = false
        if (why === null) await send('WATCHDOG=1', ...(wasSick ? ['STATUS=well again'] : []))
        else await send(`STATUS=${oneLine(why)}`)
        wasSick = why !== null
      }
      const timer = setInterval(() => void ask(), Math.min(15_000, watchdogMs / 3))
      void ask()
      return () => clearInterval(timer)
    },
  }
}

/** Who starts this process again when it dies: systemd, launchd, the shell that `ccm start` left, or nobody. */
export function keeperOf(
  env: Record<string, string | undefined>,
  own: { pid: number; ppid: number },
): 'systemd' | 'launchd' | 'shell' | null {
  if (env['SYSTEMD_EXEC_PID'] === String(own.pid)) return 'systemd'
  if (env['XPC_SERVICE_NAME']?.startsWith('ccm.')) return 'launchd'
  return env['CCM_KEEPER_PID'] === String(own.ppid) ? 'shell' : null
}
