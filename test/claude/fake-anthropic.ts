import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'

/** Hosts in Anthropic's place, on loopback. `env` leads Claude Code to them; every host it asked for is kept. */
export type FakeAnthropic = { env: Record<string, string>; hosts: string[] } & AsyncDisposable

/**
 * Answers the connection check of Claude Code's first start, which ignores ANTHROPIC_BASE_URL, so that its
 * onboarding is reached without a network: a proxy that leads every host to one TLS server with a certificate
 * made for this test. Needs `openssl`.
 */
export async function serveFakeAnthropic(folder: string): Promise<FakeAnthropic> {
  mkdirSync(folder)
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const names = 'subjectAltName=DNS:*.anthropic.com,DNS:*.claude.com'
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const files = ['-keyout', key, '-out', certificate, '-subj', '/CN=fake', '-addext', names, '-days', '2']
  execFileSync('openssl', [...request, ...files], { stdio: 'ignore' })
  const hosts: string[] = []
  const tls = createTlsServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (_, response) =>
    response.end('{}'),
  )
  const proxy = createServer((_, response) => response.writeHead(502).end())
  const ports: number[] = []
  for (const server of [tls, proxy]) {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    ports.push((server.address() as AddressInfo).port)
  }
  proxy.on('connect', (asked, socket, head) => {
    hosts.push(asked.url ?? '')
    const upstream = connect(ports[0] ?? 0, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.write(head)
      upstream.pipe(socket).pipe(upstream)
    })
    for (const end of [upstream, socket]) end.on('error', () => socket.destroy())
  })
  return {
    env: {
      HTTPS_PROXY: `http://127.0.0.1:${ports[1] ?? 0}`,
      NO_PROXY: '127.0.0.1',
      NODE_EXTRA_CA_CERTS: certificate,
    },
    hosts,
    async [Symbol.asyncDispose]() {
      for (const server of [proxy, tls]) {
        server.closeAllConnections()
        await new Promise((resolve) => {
          server.close(resolve)
        })
      }
    },
  }
}
