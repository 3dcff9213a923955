import { startPostgres } from './postgres.ts'

// Starts a server, says where, and is killed: see the test of the guard.
const { port, folder } = await startPostgres(['fsync=off'])
console.log(JSON.stringify({ port, folder }))
setInterval(() => {}, 60_000)
