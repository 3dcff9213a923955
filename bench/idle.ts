import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { NODE_FLAGS } from '../src/cli/daemon-process.ts'
import { createStage, type Stage } from '../test/e2e/stage.ts'
import { median, type Bench } from './row.ts'
import { cpuMs } from './support/cpu.ts'
import { memoryMb } from './support/memory.ts'

const STARTS = 7
const IDLE_MS = 20_000
const CCM = resolve(import.meta.dirname, '../bin/ccm.js')

/** The daemon with nothing to do: time from its start until it listens, memory, CPU over 20 s. */
export const bench: Bench = async () => {
  const listening: number[] = []
  await using stage = await createStage(() => ({ kind: 'drop' }))
  for (let round = 0; round <= STARTS; round++) {
    const ms = await timeToListen(stage)
    // The first start fills the compile cache and makes the database.
    if (round > 0) listening.push(ms)
    if (round < STARTS) await stage.ccm(['stop'])
  }
  const { pid } = await stage.status()
  await sleep(3000)
  const [cpu, at] = [cpuMs([pid]), performance.now()]
  await sleep(IDLE_MS)
  const percent = ((cpuMs([pid]) - cpu) / (performance.now() - at)) * 100
  const row = (name: string, ours: number, unit: string, goal: string) => ({
    name,
    peer: null,
    ours,
    ratio: null,
    unit,
    goal,
  })
  return [
    row('daemon, start to listening', median(listening), 'ms', 'at most 150'),
    // Of a file that many programs of this machine have mapped, node itself say, PSS is a share: the more of them run,
    // the smaller. What is the daemon's alone can be compared between runs.
    row('daemon idle, PSS', memoryMb(pid, 'Pss'), 'MB', 'at most 60 (50 is wished for)'),
    row('daemon idle, its own', memoryMb(pid, 'Pss_Anon'), 'MB', 'at most 50'),
    row('daemon idle, CPU', percent, '%', 'less than 0.5'),
  ]
}

/** From the start of the process until its port accepts a connection. */
async function timeToListen(stage: Stage): Promise<number> {
  const port = await freePort()
  const startedAt = performance.now()
  const env = { ...stage.env, CCM__HTTP__PORT: String(port) }
  const child = spawn(process.execPath, [...NODE_FLAGS, CCM, 'daemon', '--background'], {
    env,
    stdio: 'ignore',
  })
  let ended = false
  child.on('exit', () => (ended = true))
  while (!(await accepts(port))) {
    if (ended) throw new Error('The daemon ended.')
    await sleep(1)
  }
  const ms = performance.now() - startedAt
  // It has begun in earnest before it is stopped again.
  const answer = await fetch(`http://127.0.0.1:${port}/health`)
  await answer.text()
  return ms
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.unref().on('connect', () => socket.destroy())
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
