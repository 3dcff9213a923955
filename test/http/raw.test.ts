import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { serveFakeDaemon, until } from './served.ts'

vi.setConfig({ testTimeout: 60_000 })

type Served = Awaited<ReturnType<typeof serveFakeDaemon>>

/** A socket on which anything can be written; `all` is what came back so far. */
function open({ port }: Served): { socket: Socket; all: () => string; ended: () => boolean } {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let all = ''
  let ended = false
  socket.on('data', (data) => (all += data.toString('latin1')))
  socket.on('close', () => (ended = true))
  socket.on('error', () => (ended = true))
  return { socket, all: () => all, ended: () => ended }
}

/** What comes back for these bytes: each status in order, once the server has nothing more to say. */
async function statusesOf(served: Served, bytes: string): Promise<number[]> {
  const { socket, all, ended } = open(served)
  socket.write(bytes, 'latin1')
  const quiet = Date.now() + 5000
  let last = -1
  for (let same = 0; same < 8 && !ended() && Date.now() < quiet;) {
    await new Promise((resolve) => setTimeout(resolve, 25))
    same = all().length === last ? same + 1 : 0
    last = all().length
  }
  return [...all().matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))
}

const host = ({ port }: Served) => `Host: 127.0.0.1:${port}\r\n`
const auth = 'Authorization: Bearer right-token\r\n'
const post = (served: Served, lines: string, body: string) =>
  `POST /api/tasks/a/approve HTTP/1.1\r\n${host(served)}${auth}Content-Type: application/json\r\n${lines}\r\n${body}`
const hidden = (served: Served) =>
  `POST /api/shutdown HTTP/1.1\r\n${host(served)}${auth}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`

// A proxy in front might read each of these as one request where we read two, or the other way round.
test.each<[string, (served: Served) => string]>([
  [
    'both Content-Length and Transfer-Encoding',
    (served) =>
      post(served, 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${hidden(served)}`),
  ],
  [
    'two different Content-Lengths',
    (served) => post(served, 'Content-Length: 2\r\nContent-Length: 0\r\n', `{}${hidden(served)}`),
  ],
  [
    'a Content-Length that is a list',
    (served) => post(served, 'Content-Length: 2, 2\r\n', `{}${hidden(served)}`),
  ],
  ['a signed Content-Length', (served) => post(served, 'Content-Length: +2\r\n', `{}${hidden(served)}`)],
  [
    'a Transfer-Encoding with more than chunked at its end',
    (served) =>
      post(served, 'Transfer-Encoding: chunked, identity\r\n', `2\r\n{}\r\n0\r\n\r\n${hidden(served)}`),
  ],
  [
    'an unknown Transfer-Encoding',
    (served) => post(served, 'Transfer-Encoding: xchunked\r\n', `2\r\n{}\r\n0\r\n\r\n${hidden(served)}`),
  ],
  [
    'a blank before the colon of Transfer-Encoding',
    (served) => post(served, 'Transfer-Encoding : chunked\r\n', `0\r\n\r\n${hidden(served)}`),
  ],
  [
    'a folded header line',
    (served) => post(served, 'X-A: b\r\n Transfer-Encoding: chunked\r\n', `0\r\n\r\n${hidden(served)}`),
  ],
  ['bare line feeds', (served) => post(served, 'X-A: b\r\n', '').replaceAll('\r\n', '\n') + hidden(served)],
  ['a bare carriage return in a header', (served) => post(served, 'X-A: b\rX-B: c\r\n', hidden(served))],
  ['a NUL in a header', (served) => post(served, 'X-A: b\0c\r\n', hidden(served))],
  [
    'a chunk size that is no number',
    (served) => post(served, 'Transfer-Encoding: chunked\r\n', `zz\r\n{}\r\n0\r\n\r\n${hidden(served)}`),
  ],
  [
    'a chunk size that overflows',
    (served) =>
      post(
        served,
        'Transfer-Encoding: chunked\r\n',
        `ffffffffffffffffff\r\n{}\r\n0\r\n\r\n${hidden(served)}`,
      ),
  ],
])('%s is refused, and what hides behind it never runs', async (_, bytes) => {
  const served = await serveFakeDaemon()
  served.addTask('a')
  const statuses = await statusesOf(served, bytes(served))
  expect(statuses.filter((status) => status < 400)).toEqual([])
  expect(served.calls).toEqual([])
})

test.each<[string, (served: Served) => string]>([
  ['two Hosts', (served) => `GET /health HTTP/1.1\r\n${host(served)}Host: evil.example\r\n\r\n`],
  [
    'two Hosts, the other way round',
    (served) => `GET /health HTTP/1.1\r\nHost: evil.example\r\n${host(served)}\r\n`,
  ],
  ['no Host', () => 'GET /health HTTP/1.1\r\n\r\n'],
  ['HTTP/1.0 without a Host', () => 'GET /health HTTP/1.0\r\n\r\n'],
  [
    'an absolute URI of another website',
    (served) => `GET http://evil.example/health HTTP/1.1\r\n${host(served)}\r\n`,
  ],
  [
    'an absolute URI of this daemon with another Host',
    (served) => `GET http://127.0.0.1:${served.port}/health HTTP/1.1\r\nHost: evil.example\r\n\r\n`,
  ],
  [
    'a Host with a user in it',
    (served) => `GET /health HTTP/1.1\r\nHost: evil@127.0.0.1:${served.port}\r\n\r\n`,
  ],
  [
    'a Host with a path in it',
    (served) => `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${served.port}/x\r\n\r\n`,
  ],
  ['CONNECT', (served) => `CONNECT evil.example:443 HTTP/1.1\r\n${host(served)}\r\n`],
  ['a method nobody knows', (served) => `BREW /health HTTP/1.1\r\n${host(served)}\r\n`],
  ['TRACE', (served) => `TRACE /health HTTP/1.1\r\n${host(served)}${auth}\r\n`],
  [
    'a header of 32 KiB',
    (served) => `GET /health HTTP/1.1\r\n${host(served)}X-A: ${'a'.repeat(32_768)}\r\n\r\n`,
  ],
  ['4,000 headers', (served) => `GET /health HTTP/1.1\r\n${host(served)}${'A: b\r\n'.repeat(4000)}\r\n`],
  ['a path of 32 KiB', (served) => `GET /${'a'.repeat(32_768)} HTTP/1.1\r\n${host(served)}\r\n`],
  [
    'two Authorizations',
    (served) => `GET /api/status HTTP/1.1\r\n${host(served)}Authorization: Bearer no\r\n${auth}\r\n`,
  ],
  ['no HTTP at all', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['half a request', () => 'GET /hea'],
])('%s gets nothing good, and the daemon goes on', async (_, bytes) => {
  const served = await serveFakeDaemon()
  const statuses = await statusesOf(served, bytes(served))
  expect(statuses.filter((status) => status < 400 || status >= 500)).toEqual([])
  expect((await fetch(`${served.baseUrl}/health`)).status).toBe(200)
  expect(served.log).toEqual([])
})

test.each<[string, (served: Served) => string]>([
  ['no Host', () => 'GET /health HTTP/1.1\r\n\r\n'],
  ['an empty Host', () => 'GET /health HTTP/1.1\r\nHost:\r\n\r\n'],
  ['a Host that is no name', (served) => `GET /health HTTP/1.1\r\nHost: a@127.0.0.1:${served.port}\r\n\r\n`],
  ['a backslash in the path', (served) => `GET /health\\ HTTP/1.1\r\n${host(served)}\r\n`],
  ['a target that is no path', (served) => `OPTIONS * HTTP/1.1\r\n${host(served)}\r\n`],
  ['an absolute target that is no URL', (served) => `GET http://[ HTTP/1.1\r\n${host(served)}\r\n`],
])('%s is refused with a problem document, and the connection goes on', async (_, bytes) => {
  const served = await serveFakeDaemon()
  const { socket, all } = open(served)
  socket.write(bytes(served), 'latin1')
  await until(() => all().endsWith('}'))
  const [head = '', body = ''] = all().split('\r\n\r\n')
  expect(head).toMatch(/^HTTP\/1\.1 40[03] [^]*content-security-policy: default-src 'none'/)
  const id = /x-request-id: ([\w-]{12})/.exec(head)?.[1]
  expect(JSON.parse(body)).toMatchObject({
    code: expect.stringMatching(/BAD_INPUT|UNAUTHORIZED/),
    request_id: id,
  })
  socket.write(`GET /health HTTP/1.1\r\n${host(served)}\r\n`)
  await until(() => all().includes('HTTP/1.1 200'))
})

test('HTTP/1.0 is answered and hung up on, or goes on where it asks for that', async () => {
  const served = await serveFakeDaemon()
  const once = open(served)
  once.socket.write(`GET /health HTTP/1.0\r\n${host(served)}\r\n`)
  await until(once.ended)
  expect(once.all()).toMatch(/^HTTP\/1\.1 200 /)
  const { socket, all } = open(served)
  for (const times of [1, 2]) {
    socket.write(`GET /api/status HTTP/1.0\r\n${host(served)}${auth}Connection: keep-alive\r\n\r\n`)
    await until(() => all().split('HTTP/1.1 200 ').length === times + 1)
  }
})

/** The status is answered once the gate is opened. */
function holdStatus(served: Served): { resolve: () => void } {
  const gate = Promise.withResolvers<void>()
  const { status } = served.deps
  served.deps.status = async () => {
    await gate.promise
    return status()
  }
  return gate
}

test.each<[string, number, (served: Served) => string]>([
  [
    'a header that is too large',
    431,
    (served) => `GET /health HTTP/1.1\r\n${host(served)}X-A: ${'a'.repeat(300_000)}\r\n\r\n`,
  ],
  [
    'too many headers',
    431,
    (served) => `GET /health HTTP/1.1\r\n${host(served)}${'A: b\r\n'.repeat(40_000)}\r\n`,
  ],
  ['a path that is too long', 431, (served) => `GET /${'a'.repeat(300_000)} HTTP/1.1\r\n${host(served)}\r\n`],
  ['no HTTP at all', 400, () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.repeat(30_000)],
  ['a blank in the path', 400, (served) => `GET /hea lth HTTP/1.1\r\n${host(served)}\r\n`],
  ['a version that is none', 400, (served) => `GET /health HTTP/9.9\r\n${host(served)}\r\n`],
  ['no version, as of HTTP/0.9', 400, (served) => `GET /health\r\n${host(served)}\r\n`],
  ['HTTP/0.9 by its name', 400, (served) => `GET /health HTTP/0.9\r\n${host(served)}\r\n`],
  ['HTTP/2.0 in plain text', 400, (served) => `GET /api/status HTTP/2.0\r\n${host(served)}${auth}\r\n`],
  [
    'HTTP/0.9 with a body',
    400,
    (served) => post(served, 'Content-Length: 300000\r\n', '{}'.padEnd(300_000)).replace(' HTTP/1.1', ''),
  ],
  ['a method nobody knows', 400, (served) => `BREW /health HTTP/1.1\r\n${host(served)}\r\n`],
  [
    'a broken body',
    400,
    (served) => post(served, 'Transfer-Encoding: chunked\r\n', `zz\r\n${'x'.repeat(300_000)}`),
  ],
])(
  '%s is told with %i, an id and the end of the connection, which is not reset',
  async (_, status, bytes) => {
    const served = await serveFakeDaemon()
    const { socket, all, ended } = open(served)
    const faults: Error[] = []
    socket.on('error', (error) => faults.push(error))
    // Its own end follows the server's, however much it has still to say by then.
    socket.write(bytes(served), 'latin1')
    await until(ended)
    expect(faults).toEqual([])
    const [head = '', body = ''] = all().split('\r\n\r\n')
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close`, 'i'))
    const id = /x-request-id: ([\w-]{12})/i.exec(head)?.[1]
    expect(JSON.parse(body)).toMatchObject({ status, code: 'BAD_INPUT', request_id: id })
    expect(served.calls).toEqual([])
    expect(served.log).toEqual([])
  },
)

test('who is told what is broken and never hangs up is hung up on', async () => {
  const served = await serveFakeDaemon()
  const socket = connect({ port: served.port, host: '127.0.0.1', allowHalfOpen: true })
  onTestFinished(() => void socket.destroy())
  let closed = false
  socket
    .on('error', () => (closed = true))
    .on('close', () => (closed = true))
    .resume()
  socket.write('no HTTP\r\n\r\n')
  const drip = setInterval(() => socket.write('more'), 50)
  onTestFinished(() => clearInterval(drip))
  await expect.poll(() => closed, { timeout: 5000 }).toBe(true)
})

test('what is broken behind a request that is being answered is told after that answer', async () => {
  const served = await serveFakeDaemon()
  const gate = holdStatus(served)
  const { socket, all, ended } = open(served)
  socket.write(`GET /api/status HTTP/1.1\r\n${host(served)}${auth}\r\nno HTTP\r\n\r\n`)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(all()).toBe('')
  gate.resolve()
  await until(ended)
  expect([...all().matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, code]) => code)).toEqual(['200', '400'])
})

test('a body that breaks after its request was answered gets no second answer', async () => {
  const served = await serveFakeDaemon()
  const { socket, all, ended } = open(served)
  socket.write(`POST /api/tasks HTTP/1.1\r\n${host(served)}${auth}Transfer-Encoding: chunked\r\n\r\n`)
  await until(() => all().includes('HTTP/1.1 415'))
  socket.write('zz\r\n')
  await until(ended)
  expect(all().match(/HTTP\/1\.1/g)).toHaveLength(1)
})

test('whoever asks gets a connection beside any number of slow ones, and who is being answered keeps theirs', async () => {
  const served = await serveFakeDaemon({}, { max: 20 })
  const gate = holdStatus(served)
  const held = open(served)
  held.socket.write(`GET /api/status HTTP/1.1\r\n${host(served)}${auth}\r\n`)
  const slow = Array.from({ length: 60 }, (_, n) => {
    const one = open(served)
    if (n % 3 === 1) one.socket.write(`GET /health HTTP/1.1\r\nX-${n}: `)
    if (n % 3 === 2) one.socket.write(post(served, 'Content-Length: 1000\r\n', '{'))
    return one
  })
  await until(() => slow.filter(({ ended }) => ended()).length > 40)
  for (let n = 0; n < 5; n++) {
    const one = open(served)
    one.socket.write(`GET /health HTTP/1.1\r\n${host(served)}\r\n`)
    await until(() => one.all().includes('HTTP/1.1 200'))
  }
  expect(slow.slice(0, 40).every(({ ended }) => ended())).toBe(true)
  gate.resolve()
  await until(() => held.all().includes('HTTP/1.1 200'))
})

test('pipelined requests are answered each and in order', async () => {
  const served = await serveFakeDaemon()
  const get = (path: string) => `GET ${path} HTTP/1.1\r\n${host(served)}${auth}\r\n`
  const bytes =
    get('/health') + get('/api/none') + get('/api/status') + get('/api/tasks/none') + get('/health')
  expect(await statusesOf(served, bytes)).toEqual([200, 404, 200, 404, 200])
})

test('a body that breaks off is no task, and no fault', async () => {
  const served = await serveFakeDaemon()
  const body = '{"prompt":"Do it.","dir":"/x"}'
  const { socket, ended } = open(served)
  socket.write(
    `POST /api/tasks HTTP/1.1\r\n${host(served)}${auth}Content-Type: application/json\r\nContent-Length: ${body.length + 1}\r\n\r\n${body}`,
  )
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.resetAndDestroy()
  await until(ended)
  expect((await fetch(`${served.baseUrl}/health`)).status).toBe(200)
  expect(served.calls).toEqual([])
  expect(served.log).toEqual([])
})

test('with 500 slow sockets open /health answers within 100 ms', async () => {
  const served = await serveFakeDaemon()
  const sockets = Array.from({ length: 500 }, (_, n) => {
    const { socket } = open(served)
    // A third says nothing, a third is in its headers, a third in its body.
    if (n % 3 === 1) socket.write(`GET /health HTTP/1.1\r\nX-${n}: `)
    if (n % 3 === 2)
      socket.write(
        `POST /api/tasks HTTP/1.1\r\n${host(served)}${auth}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
      )
    return socket
  })
  await until(() => sockets.every(({ readyState }) => readyState === 'open'))
  const drip = setInterval(() => {
    for (const [n, socket] of sockets.entries()) if (n % 3 === 1) socket.write('a')
  }, 200)
  onTestFinished(() => clearInterval(drip))
  // Ten in a row; another program on the machine may spoil a few rounds.
  const worst: number[] = []
  while (!worst.some((ms) => ms < 100) && worst.length < 5) {
    const times: number[] = []
    for (let n = 0; n < 10; n++) {
      const before = performance.now()
      expect((await fetch(`${served.baseUrl}/health`)).status).toBe(200)
      times.push(performance.now() - before)
    }
    worst.push(Math.max(...times))
  }
  expect(Math.min(...worst)).toBeLessThan(100)
})

test('who never ends a request is cut off', { timeout: 60_000 }, async () => {
  const served = await serveFakeDaemon()
  const headers = open(served)
  headers.socket.write(`GET /health HTTP/1.1\r\nX-A: `)
  const drip = setInterval(() => headers.socket.write('a'), 500)
  onTestFinished(() => clearInterval(drip))
  const before = Date.now()
  while (!headers.ended()) {
    expect(Date.now() - before).toBeLessThan(40_000)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(headers.all()).not.toContain('200')
})

test('who never ends a body is told so and cut off; who ends it in time and waits for long is answered', async () => {
  const served = await serveFakeDaemon({}, { arriveMs: 4000 })
  served.addTask('a')
  const gate = holdStatus(served)
  const held = open(served)
  held.socket.write(`GET /api/status HTTP/1.1\r\n${host(served)}${auth}\r\n`)
  const inTime = open(served)
  inTime.socket.write(post(served, 'Content-Length: 2\r\n', '{'))
  const endless = open(served)
  endless.socket.write(post(served, 'Content-Length: 1000\r\n', '{'))
  const drip = setInterval(() => endless.socket.write(' '), 50)
  onTestFinished(() => clearInterval(drip))
  setTimeout(() => inTime.socket.write('}'), 200)
  await until(endless.ended)
  expect(endless.all()).toMatch(/^HTTP\/1\.1 408 /)
  expect(inTime.all()).toMatch(/^HTTP\/1\.1 200 /)
  expect(served.calls).toEqual([['approve', 'a', null]])
  gate.resolve()
  await until(() => held.all().includes('HTTP/1.1 200'))
  expect(served.log).toEqual([])
})

test('who asks and never takes the answers is cut off, and who is slow or waits for one is not', async () => {
  const served = await serveFakeDaemon({ rate: 100_000 }, { stuckMs: 1000 })
  const gate = holdStatus(served)
  const held = open(served)
  held.socket.write(`GET /api/status HTTP/1.1\r\n${host(served)}${auth}\r\n`)
  const screen = 'x'.repeat(2_000_000)
  let asked = 0
  served.addTask('a')
  served.deps.tasks.screen = async () => {
    asked += 1
    return screen
  }
  // More than the kernel keeps for the two of them.
  const count = 15
  const pipelined = `GET /api/tasks/a/screen HTTP/1.1\r\n${host(served)}${auth}\r\n`.repeat(count)
  /** Whether all answers came. */
  const answered = async (wait: (socket: Socket) => Promise<void>) => {
    const socket = connect(served.port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    const over = new Promise<void>((resolve) =>
      socket.on('error', () => resolve()).on('close', () => resolve()),
    )
    let bytes = 0
    const all = new Promise<void>((resolve) => {
      socket.on('data', ({ length }) => (bytes += length) >= count * screen.length && resolve())
    })
    socket.pause()
    socket.write(pipelined)
    await wait(socket)
    socket.resume()
    await Promise.race([over, all])
    return bytes >= count * screen.length
  }
  const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
  const quiet = async () => {
    for (let same = 0, last = -1; same < 20; last = asked) {
      await sleep(150)
      same = asked === last && asked > 0 ? same + 1 : 0
    }
  }
  expect(await answered(quiet)).toBe(false)
  const slow = async (socket: Socket) => {
    for (let n = 0; n < 30; n++) {
      socket.resume()
      await sleep(20)
      socket.pause()
      await sleep(80)
    }
  }
  expect(await answered(slow)).toBe(true)
  gate.resolve()
  await until(() => held.all().includes('HTTP/1.1 200'))
})
