import type { Config } from '../config/config.ts'
import { readSecret } from '../config/secrets.ts'
import { createSqliteQueue } from '../queue/sqlite.ts'
import type { ChoiceDeps, ChosenQueue } from './chosen-queue.ts'
import { chooseShared } from './shared-choice.ts'

/** The embedded queue has one system and one worker: this machine. */
const LOCAL = 'local'
/** The secret of `[supabase]`, or null where the embedded queue is used. Throws BAD_CONFIG as `readSecret` does. */
export async function readSupabaseKey(
  config: Config,
  env: Record<string, string | undefined>,
): Promise<string | null> {
  return config.supabase === null ? null : readSecret('supabase.secret_key', config.supabase.secretKey, env)
}

/**
 * Opens the queue that the configuration names and makes this process its worker; a shared one that does not answer
 * within 5 s is joined later. Throws what a queue's `register` throws: SUPABASE_KEY for a wrong key.
 */
export async function chooseQueue(deps: ChoiceDeps): Promise<ChosenQueue> {
  const { config, secretKey } = deps
  if (config.supabase !== null && secretKey !== null) return chooseShared(deps, config.supabase, secretKey)
  const { db, clock } = deps
  const queue = createSqliteQueue({
    db,
    system: LOCAL,
    worker: LOCAL,
    clock,
    random: Math.random,
    leaseMs: config.queue.leaseMs,
    maxQueued: config.queue.maxQueued,
  })
  await queue.register()
  return {
    queue,
    seen: queue.list,
    system: LOCAL,
    worker: LOCAL,
    shared: null,
    supabase: () => 'disabled',
    onSupabase: () => undefined,
    begin: null,
    state: () => null,
    workers: null,
    templates: null,
    close: async () => undefined,
  }
}
