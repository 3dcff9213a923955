// block.mjs PID: makes the main thread of that process run for ever, as a fault in a program would.
const pid = Number(process.argv[2])
process.kill(pid, 'SIGUSR1')
for (;;) {
  try {
    const [target] = await (await fetch('http://127.0.0.1:9229/json')).json()
    const socket = new WebSocket(target.webSocketDebuggerUrl)
    await new Promise((resolve) => socket.addEventListener('open', resolve))
    socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: 'for (;;);' } }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    process.exit(0)
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
