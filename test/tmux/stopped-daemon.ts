import { openTmuxServer } from '../../src/tmux/server.ts'

// A daemon with a control client; the test stops this process, so that nobody reads the client's output.
const [folder = ''] = process.argv.slice(2)
const server = await openTmuxServer({ folder, env: process.env })
await server.run([['list-panes']])
console.log(server.controlPid())
setInterval(() => undefined, 60_000)
