import { execFileSync } from 'node:child_process'
import { pino } from 'pino'
import Sqlite from 'better-sqlite3'
import { createBeats, createPulse } from '../../src/supervisor/loops/beats.ts'
import { startWatchdog } from '../../src/supervisor/loops/watchdog.ts'

// A daemon in small that hangs in the way it is told: hang.ts WAY REPORT-FILE LIMIT-MS.
const [, , way = '', reportFile = '', limit = ''] = process.argv
const limitMs = Number(limit)
let hanging = false
const beats = createBeats()
const watchdog = startWatchdog({
  beats,
  eventLoopMs: limitMs,
  loopMs: limitMs,
  reportFile,
  logger: pino({ level: 'silent' }),
})
const never = new Promise<void>(() => undefined)
const pulse = createPulse(
  beats,
  'sweep',
  () => (way === 'a stalled promise' && hanging ? never : Promise.resolve()),
  limitMs / 5,
)

const ways: Record<string, () => void> = {
  'an endless loop': function spinForEver() {
    for (;;);
  },
  'a catastrophic regex': function matchForEver() {
    ;/^(a+)+$/.test(`${'a'.repeat(60)}b`)
  },
  'a synchronous child': () => void execFileSync('sleep', ['20']),
  'Atomics.wait': () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  'an endless query': function askForEver() {
    new Sqlite(':memory:').exec(
      'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c',
    )
  },
  'a microtask flood': function floodForEver() {
    void Promise.resolve().then(floodForEver)
  },
  'a stalled promise': () => undefined,
  'nothing at all': () => setTimeout(() => process.stdout.write('alive\n'), limitMs * 3),
  'a pause below the limit': () => {
    const until = performance.now() + limitMs * 0.6
    while (performance.now() < until);
    setTimeout(() => process.stdout.write('alive\n'), limitMs * 1.5)
  },
  // What still has to be done after the watch may take its time, and then nothing keeps the process.
  'an orderly end': () => {
    pulse.close()
    void watchdog.close().then(() => {
      const until = performance.now() + limitMs * 2
      while (performance.now() < until);
      process.stdout.write('ended\n')
    })
  },
}

setTimeout(() => {
  hanging = true
  process.stdout.write('hangs\n', () => ways[way]?.())
}, 500)
