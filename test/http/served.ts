import { onTestFinished } from 'vitest'
import { createDaemonClient } from '../../src/client/daemon-client.ts'
import { createApp } from './checked-app.ts'
import type { AppDeps } from '../../src/http/deps.ts'
import type { ConnectionLimits } from '../../src/http/connections.ts'
import { listen, type Listening } from '../../src/http/listen.ts'
import { TOKEN, createFakeDaemon } from './fake-daemon.ts'

/** A fake daemon behind a real socket, with a client of it. `restart` comes back on the same port. */
export async function serveFakeDaemon(
  overrides: Partial<AppDeps> = {},
  limits: Partial<ConnectionLimits> = {},
) {
  let port = 0
  const daemon = createFakeDaemon({ heartbeatMs: 50, ...overrides, names: { port: () => port, public: [] } })
  let server: Listening = await listen(createApp(daemon.deps), {
    host: '127.0.0.1',
    port: 0,
    ...limits,
  })
  port = server.port
  const stop = () => server.close(0)
  onTestFinished(stop)
  const baseUrl = `http://127.0.0.1:${port}`
  return {
    ...daemon,
    port,
    baseUrl,
    client: createDaemonClient({ baseUrl, token: TOKEN }),
    close: (graceMs?: number) => server.close(graceMs),
    stop,
    async restart() {
      server = await listen(createApp(daemon.deps), { host: '127.0.0.1', port })
    },
  }
}

/** Waits until `check` holds; throws after 15 s. */
export async function until(check: () => boolean): Promise<void> {
  for (const end = Date.now() + 15_000; !check();) {
    if (Date.now() > end) throw new Error(`It did not come to this: ${check.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
