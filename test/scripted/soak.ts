// `npm run soak`: two hours of work with a random fault a minute, of the daemon, its agents and its disk (where this
// user may mount one). SOAK_MINUTES for another time, SOAK_EVERY_S for another pace, SOAK_FAULTS for those whose name
// holds that text. Exits 1 when anything was lost, done twice or left behind, or when the daemon's heap grew.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mountDisk } from '../support/disk.ts'
import { DISK_FAULTS } from './disk-faults.ts'
import { FAULTS } from './faults.ts'
import { createScriptedFleet, sizeOf } from './fleet.ts'
import { heapKindsOf, heapMbOf, INSPECTABLE } from './heap.ts'
import type { Damage } from './judge.ts'
import type { Script } from './script.ts'

const MINUTES = Number(process.env['SOAK_MINUTES'] ?? 120)
const EVERY_MS = Number(process.env['SOAK_EVERY_S'] ?? 60) * 1000
const AGENTS = 6
const SAMPLE_MS = 30_000
/** What grew is told so often of each daemon, against its first time: a daemon that is looked into stands for a second. */
const KINDS_MS = 600_000
const KINDS_TOLD = 25
/**
 * More than that an hour is growth, but for a process's first minutes: in ten of them V8 compiled 1.6 MB of code that is
 * run often, in the next ten 0.4 MB.
 */
const MOST_GROWTH_MB = 5
const WARM_MS = 600_000

const TASKS: Script[] = [
  { workMs: 500, tools: 2 },
  { workMs: 2000, tools: 6, chatter: true },
  { workMs: 300, child: true },
  { workMs: 300, ends: ['crash', 'done'] },
  { workMs: 300, ends: ['error'] },
  { workMs: 5000, tools: 10 },
]

const some = <T>(items: T[]): T | undefined => items[Math.floor(Math.random() * items.length)]

await using fleet = await createScriptedFleet({
  dirs: AGENTS,
  ownConfigFolder: true,
  // Many tasks fail by intent, and a breaker would rightly stop them.
  config:
    '[queue]\nmax_queued = 1000\nsweep = "2s"\nlease = "20s"\nheartbeat = "5s"\n[breaker]\nfailures = 20\nwindow = "10s"\n[store]\nballast_mb = 4',
})
await using disk = await mountDisk(fleet.stage.home, 1024)
const damage: Damage & Required<Pick<Damage, 'troubles'>> = { troubles: [] }
const faultsToStrike = [
  ...FAULTS,
  ...(disk === null
    ? []
    : DISK_FAULTS.map(({ strike, ...fault }) => ({
        ...fault,
        strike: async () => {
          const { trouble, destroyedAt } = await strike(fleet, disk)
          if (trouble !== undefined) damage.troubles.push(trouble)
          if (destroyedAt !== undefined) damage.destroyedAt = destroyedAt
        },
      }))),
].filter(({ name }) => name.includes(process.env['SOAK_FAULTS'] ?? ''))
Object.assign(fleet.stage.env, INSPECTABLE)
await fleet.up()
const end = Date.now() + MINUTES * 60_000
/** Heap of one daemon by time; a new daemon begins a new line. */
const lines: { at: number; mb: number }[][] = [[]]
const struck: Record<string, number> = {}
let added = 0
let nextFault = Date.now() + 30_000
let nextSample = 0
let nextKinds = Date.now() + 120_000
let firstKinds: Map<string, number> | null = null
while (Date.now() < end) {
  const { queued = 0 } = fleet.counts()
  for (let missing = AGENTS - queued; missing > 0; missing--)
    await fleet.add(`soak${added++}`, some(TASKS) ?? {})
  if (Date.now() > nextSample) {
    nextSample = Date.now() + SAMPLE_MS
    lines.at(-1)?.push({ at: Date.now(), mb: await heap() })
  }
  if (Date.now() > nextKinds) {
    nextKinds = Date.now() + KINDS_MS
    const kinds = await heapKinds()
    if (firstKinds !== null) tellGrowth(firstKinds, kinds)
    firstKinds ??= kinds
  }
  if (Date.now() > nextFault) {
    nextFault = Date.now() + EVERY_MS
    // In the second half one daemon lives on, so that its memory tells something.
    const isLate = end - Date.now() < (MINUTES * 60_000) / 2
    const fault = some(faultsToStrike.filter(({ endsDaemon }) => !endsDaemon || !isLate))
    if (fault === undefined) continue
    struck[fault.name] = (struck[fault.name] ?? 0) + 1
    console.log(`${new Date().toISOString()} ${fault.name}; ${JSON.stringify(fleet.counts())}`)
    await fault.strike(fleet)
    await fleet.up()
    if (fault.endsDaemon) {
      lines.push([])
      firstKinds = null
      nextKinds = Date.now() + 120_000
    }
  }
  await sleep(500)
}
await fleet.over(300_000)
const faults = await fleet.faults([], damage)
const { memoryMb, descriptors } = sizeOf(fleet.pidOfDaemon())
const daemons = lines.map((line) => ({
  minutes: Math.round(((line.at(-1)?.at ?? 0) - (line[0]?.at ?? 0)) / 60_000),
  heapMb: [line[0]?.mb, line.at(-1)?.mb],
  growthMbAnHour: slopeOf(line),
}))
const slopes = daemons.flatMap(({ growthMbAnHour }) => growthMbAnHour ?? [])
const slope = slopes.toSorted((a, b) => a - b)[Math.floor(slopes.length / 2)] ?? null
console.log({
  minutes: MINUTES,
  added,
  counts: fleet.counts(),
  struck,
  damage,
  memoryMb,
  descriptors,
  growthMbAnHour: slope,
  faults,
})
console.table(daemons)
// What becomes of its disk takes all evidence along.
for (const id of new Set(faults.flatMap((fault) => fault.match(/\b[0-9a-z]{12}\b/g) ?? []))) {
  console.log((await fleet.stage.ccm(['explain', id])).stdout)
  for (const entry of fleet.ledger()) if (entry.task === id) console.log(JSON.stringify(entry))
}
// Before its disk goes.
await fleet.stage.ccm(['stop'])
if (faults.length > 0 || (slope !== null && slope > MOST_GROWTH_MB)) process.exitCode = 1

function log(): string {
  return readFileSync(join(fleet.stage.home, 'daemon.log'), 'utf8')
}

async function heap(): Promise<number> {
  return heapMbOf(fleet.pidOfDaemon(), log)
}

async function heapKinds(): Promise<Map<string, number>> {
  return heapKindsOf(fleet.pidOfDaemon(), log)
}

function tellGrowth(before: Map<string, number>, now: Map<string, number>): void {
  const grown = [...now].map(([kind, bytes]) => ({ kind, kB: (bytes - (before.get(kind) ?? 0)) / 1000 }))
  console.table(grown.toSorted((a, b) => b.kB - a.kB).slice(0, KINDS_TOLD))
}

/** MB an hour by least squares, after the first ten minutes of a daemon; null where it lived for less than eighteen. */
function slopeOf(line: { at: number; mb: number }[]): number | null {
  const from = (line[0]?.at ?? 0) + WARM_MS
  const late = line.filter(({ at }) => at >= from)
  if (late.length === 0 || (late.at(-1)?.at ?? 0) - from < 480_000) return null
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const [at, mb] = [mean(late.map((one) => one.at)), mean(late.map((one) => one.mb))]
  const over = late.reduce((sum, one) => sum + (one.at - at) * (one.mb - mb), 0)
  return (over / late.reduce((sum, one) => sum + (one.at - at) ** 2, 0)) * 3_600_000
}
