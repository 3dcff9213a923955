import type { Logger } from 'pino'

/** Ended at once, or out of time, but on purpose: whoever restarts daemons leaves it be. */
export const EXIT_FORCED = 143

/**
 * The first TERM or INT ends in order, a second at once; HUP reads the configuration again. That holds as long as the
 * process lives.
 */
export function handleSignals(on: { end: () => void; reload: () => void; logger: Logger }): void {
  let signals = 0
  const onEnd = (signal: NodeJS.Signals) => {
    if (++signals > 1) process.exit(EXIT_FORCED)
    on.logger.info({ code: signal }, 'ending')
    on.end()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onEnd)
  process.on('SIGHUP', on.reload)
}
