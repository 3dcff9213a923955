import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { createSupabase } from '../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../src/queue/supabase/queue.ts'
import { createSubscription } from '../src/queue/supabase/subscription.ts'
import { openGateway } from '../test/support/gateway.ts'
import { startSupabase } from '../test/support/supabase.ts'
import { median, type Bench, type Row } from './row.ts'

const ROUNDS = 60

/**
 * From the commit of an INSERT to the answer of the claim that Realtime caused: real PostgreSQL, logical replication, the
 * stand-ins of Realtime and REST, supabase-js. There is no peer.
 */
export const bench: Bench = async () => {
  await using supabase = await startSupabase()
  await using gateway = await openGateway(supabase)
  await supabase.sql(`INSERT INTO systems (id) VALUES ('bench')`)
  const { call, connect } = createSupabase({ url: gateway.url, secretKey: supabase.secretKey })
  const queue = createSupabaseQueue({
    call,
    system: 'bench',
    worker: 'w',
    info: () => ({
      host: '',
      version: '',
      capacity: 1,
      roles: null,
      labels: [],
      projects: { app: '/app' },
    }),
    newKey: () => crypto.randomUUID(),
  })
  await queue.register()
  const ready = Promise.withResolvers<void>()
  let wake = (): void => undefined
  const subscription = createSubscription({
    connect,
    system: 'bench',
    onReady: () => ready.resolve(),
    onTask: ({ isNew }) => isNew && wake(),
    clock: () => performance.now(),
    random: Math.random,
    logger: pino({ level: 'silent' }),
  })
  await ready.promise
  const times: number[] = []
  for (let round = 0; round <= ROUNDS; round += 1) {
    const claimed = new Promise<number>((resolve, reject) => {
      wake = () => {
        queue.claim(1, { projects: ['app'], roles: null, labels: [] }).then(async ([task]) => {
          const at = performance.now()
          if (task === undefined) return
          await queue.finish({
            taskId: task.id,
            attempt: task.attempt,
            outcome: 'succeeded',
            result: null,
            error: null,
            retryAfterMs: null,
            resume: null,
          })
          resolve(at)
        }, reject)
      }
    })
    await supabase.sql(`INSERT INTO tasks (system_id, project, prompt) VALUES ('bench', 'app', 'x')`)
    const insertedAt = performance.now()
    const claimedMs = (await claimed) - insertedAt
    // The first one warms connections and plans.
    if (round > 0) times.push(claimedMs)
    await sleep(20)
  }
  await subscription.close()
  const sorted = times.toSorted((a, b) => a - b)
  const row = (name: string, ours: number, goal: string): Row => {
    return { name, peer: null, ours, ratio: null, unit: 'ms', goal }
  }
  return [
    row('INSERT -> claimed by Realtime, p50', median(times), 'at most 15 ms'),
    row('INSERT -> claimed by Realtime, p95', sorted[Math.floor(sorted.length * 0.95)] ?? NaN, 'none'),
  ]
}
