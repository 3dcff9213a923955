// relay.mjs FROM TO: passes connections on, a port of loopback or a socket's file each. A machine with a network of its
// own reaches the tests' servers by a file that both see.
import { connect, createServer } from 'node:net'

const place = (word) => (/^\d+$/.test(word) ? { host: '127.0.0.1', port: Number(word) } : { path: word })
const [, , from = '', to = ''] = process.argv
createServer((near) => {
  const far = connect(place(to))
  near.pipe(far).pipe(near)
  near.on('error', () => far.destroy())
  far.on('error', () => near.destroy())
}).listen(place(from))
