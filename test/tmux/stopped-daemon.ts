import { openTmuxServer } from '../../src/tmux/server.ts'

// A daemon with a control client; the test stops this process, so that nobody reads the client's output.
const [folder = '', asking] = process.argv.slice(2)
const server = await openTmuxServer({ folder, env: process.env })
await server.run([['list-panes']])
console.log(server.controlPid())
if (asking !== undefined) {
  // More replies than any buffer holds, and then nobody reads them.
  void server.run(Array.from({ length: 2000 }, () => ['show-options', '-s'])).catch(() => undefined)
  setTimeout(() => process.kill(process.pid, 'SIGSTOP'), 5)
}
setInterval(() => undefined, 60_000)
