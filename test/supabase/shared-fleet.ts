import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { loadConfig } from '../../src/config/load.ts'
import { PLAIN_TASK } from '../../src/core/task/task.ts'
import { createNotes } from '../../src/store/notes.ts'
import type { ChosenQueue } from '../../src/daemon/chosen-queue.ts'
import { chooseQueue } from '../../src/daemon/queue-choice.ts'
import type { StartPulse } from '../../src/supervisor/loops/beats.ts'
import { createSupervisor, type Supervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, eventually, type Fleet } from '../supervisor/fleet.ts'
import type { TestGateway } from '../support/gateway.ts'
import type { TestSupabase } from '../support/supabase.ts'

/** A daemon without HTTP: its queue in Supabase, its agents scripted, its tmux and its database real. */
export type SharedDaemon = {
  chosen: ChosenQueue
  supervisor: Supervisor
  /** Ends it; its agents live on. */
  close: () => Promise<void>
}

export type SharedFleet = Fleet & {
  /** Starts the daemon of this home as main does; `pulse` watches its loops. */
  start: (pulse?: StartPulse) => Promise<SharedDaemon>
}

/** One home on a system that exists; `queue` are lines of `[queue]`. */
export async function createSharedFleet(
  supabase: TestSupabase,
  options: { url: string; system: string; worker: string; queue?: string; agents?: string },
): Promise<SharedFleet> {
  const fleet = await createFleet()
  const file = join(fleet.folder, 'ccm.toml')
  writeFileSync(
    file,
    [
      '[supabase]',
      `url = "${options.url}"`,
      `secret_key = "${supabase.secretKey}"`,
      `system = "${options.system}"`,
      `worker = "${options.worker}"`,
      '[queue]',
      options.queue ?? '',
      '[agents]',
      'min_free_memory_mb = 0',
      options.agents ?? '',
    ].join('\n'),
  )
  const config = loadConfig({ CCM_CONFIG: file, CCM_HOME: fleet.home, HOME: fleet.folder }, fleet.folder)
  const logger = process.env['CCM_TEST_LOG'] === undefined ? pino({ level: 'silent' }) : pino()
  const { projects } = fleet.deps
  const started: (() => Promise<void>)[] = []
  const start = async (pulse?: StartPulse): Promise<SharedDaemon> => {
    const watched = pulse === undefined ? {} : { pulse }
    const chosen = await chooseQueue({
      config,
      secretKey: supabase.secretKey,
      db: fleet.db,
      notes: createNotes(fleet.db),
      projects,
      version: '0.0.0',
      limitOf: () => ({ permissionMode: 'acceptEdits', allowedTools: [], inPlace: false }),
      clock: Date.now,
      logger,
    })
    if (chosen.shared === null) throw new Error('the queue is not shared')
    const { leaseMs: _, heartbeatMs, sweepMs } = config.queue
    const supervisor = createSupervisor({
      ...fleet.deps,
      settings: { ...fleet.deps.settings, heartbeatMs, sweepMs, worker: chosen.worker },
      queue: chosen.queue,
      shared: chosen.shared,
      logger,
      ...watched,
    })
    chosen.onSupabase((word, sentence) => {
      if (word === 'ok') supervisor.lift('supabase')
      else supervisor.pause({ kind: 'supabase', sentence, until: null })
    })
    await supervisor.begin()
    chosen.begin?.(supervisor, pulse)
    let isOpen = true
    const close = async () => {
      if (!isOpen) return
      isOpen = false
      await supervisor.close('keep')
      await chosen.close()
    }
    started.push(close)
    return { chosen, supervisor, close }
  }
  return {
    ...fleet,
    start,
    [Symbol.asyncDispose]: async () => {
      for (const close of started) await close()
      await fleet[Symbol.asyncDispose]()
    },
  }
}

/** Adds a task as the API does. */
export const addTask = ({ supervisor }: SharedDaemon, prompt: string, more: object = {}) =>
  supervisor.insert({ ...PLAIN, prompt, project: 'work', ...more })

const PLAIN = { dir: null, trust: false, ...PLAIN_TASK, priority: null, source: 'api' }

/** Supabase answers no more, and the daemon has noticed. */
export async function goAway(gateway: TestGateway, daemon: SharedDaemon): Promise<void> {
  await gateway.down()
  await eventually(() => daemon.chosen.supabase() === 'down', 20_000)
}

let systems = 0

/** A new system with the project `work`. */
export async function newSystem(supabase: TestSupabase, maxQueued = 1000): Promise<string> {
  const system = `fleet-${(systems += 1)}-${process.pid}`
  await supabase.sql('INSERT INTO systems (id, max_queued) VALUES ($1, $2)', [system, maxQueued])
  await supabase.sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'work')`, [system])
  return system
}

/** Inserts a task as the dashboard does; with a label that no worker has, it waits. */
export async function insertTask(
  supabase: TestSupabase,
  system: string,
  prompt = 'Do it',
  labels: string[] = [],
): Promise<string> {
  const [row] = await supabase.sql<{ id: string }>(
    `INSERT INTO tasks (system_id, project, prompt, labels) VALUES ($1, 'work', $2, $3) RETURNING id`,
    [system, prompt, labels],
  )
  return row?.id ?? ''
}
