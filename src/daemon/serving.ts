import type { Logger } from 'pino'
import type { App } from '../http/app.ts'
import { listen, listenOnSocket } from '../http/listen.ts'

/** The servers of the API. */
export type Serving = {
  /** The port, once it is open; rejects with PORT_TAKEN. */
  port: Promise<number>
  /** Serves on a socket file too and answers its path; null: it cannot be served, and commands use the port. */
  onSocket: (path: string) => Promise<string | null>
  /** From here requests are answered, also those that came before. */
  answer: (app: App) => void
  close: () => Promise<void>
}

/**
 * Opens the port before anything is there to answer: requests wait for it, and a taken port is told at once, not after
 * a large database was migrated.
 */
export function serve(http: { host: string; port: number }, logger: Logger): Serving {
  const open = Promise.withResolvers<App>()
  let ready: App | null = null
  const app: Pick<App, 'fetch' | 'lane'> = {
    fetch: async (...call) => (await open.promise).fetch(...call),
    lane: (...call) => ready?.lane(...call) ?? false,
  }
  const listening = listen(app, http)
  // Whoever awaits the port hears of it.
  listening.catch(() => undefined)
  let socket: { close: () => Promise<void> } | null = null

  return {
    port: listening.then(({ port }) => port),
    async onSocket(path) {
      try {
        socket = await listenOnSocket(app, path)
        return path
      } catch (err) {
        logger.warn({ err }, 'the socket in the home cannot be served; commands use the port')
        return null
      }
    },
    answer(app) {
      ready = app
      open.resolve(app)
    },
    async close() {
      const server = await listening.catch(() => null)
      // Before there was an app nobody gets an answer.
      await Promise.all([server?.close(ready === null ? 0 : undefined), socket?.close()])
    },
  }
}
