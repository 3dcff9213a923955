import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { createStage, type Stage } from '../test/e2e/stage.ts'
import { median, type Bench } from './row.ts'
import { cpuMs } from './support/cpu.ts'

const STARTS = 7
const IDLE_MS = 20_000
const CCM = resolve(import.meta.dirname, '../bin/ccm.js')

/** The daemon with nothing to do: time from its start until /health answers, memory, CPU over 20 s. */
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
    row('daemon idle, PSS', pssMb(pid), 'MB', 'at most 60 (50 is wished for)'),
    row('daemon idle, CPU', percent, '%', 'less than 0.5'),
  ]
}

async function timeToListen(stage: Stage): Promise<number> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, [CCM, 'daemon', '--background'], {
    env: { ...stage.env, CCM__HTTP__PORT: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  const port = await new Promise<string>((done, fail) => {
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString()
      const found = /listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(log)?.[1]
      if (found !== undefined) done(found)
    })
    child.on('exit', () => fail(new Error(`The daemon ended: ${log}`)))
  })
  const answer = await fetch(`http://127.0.0.1:${port}/health`)
  await answer.text()
  return performance.now() - startedAt
}

function pssMb(pid: number): number {
  const kb = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
  return Number(kb) / 1024
}
