import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createApp } from '../../src/http/app.ts'
import { listen } from '../../src/http/listen.ts'
import { createFakeDaemon } from '../../test/http/fake-daemon.ts'

// Serves /health on a port that it prints: `bare`, as node:http alone would, or the daemon's whole HTTP side.
const HEALTH = { status: 'ok', database: 'ok', tmux: 'ok', loops: 'ok', claims: 'ok', disk: 'ok' }

if (process.argv[2] === 'bare') {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(HEALTH))
  })
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
} else {
  let port = 0
  const { deps } = createFakeDaemon({
    rate: 1_000_000,
    names: { port: () => port, public: [] },
    health: async () => HEALTH as never,
  })
  port = (await listen(createApp(deps), { host: '127.0.0.1', port: 0 })).port
  console.log(port)
}
