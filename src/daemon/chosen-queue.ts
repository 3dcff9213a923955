import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { Clock } from '../core/clock.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Template } from '../core/task/template.ts'
import type { SharedState, Worker } from '../core/task/worker.ts'
import type { Database } from '../store/database.ts'
import type { Notes } from '../store/notes.ts'
import type { Projects } from '../store/projects.ts'
import type { StartPulse } from '../supervisor/loops/beats.ts'
import type { RightsLimit } from '../supervisor/shared/shared-queue.ts'
import type { SharedDeps } from '../supervisor/supervisor-deps.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'

/** The queue this daemon works from, and who it is there. */
export type ChosenQueue = {
  queue: Queue
  /** As the queue's `list`, for people: also what is only known here. */
  seen: Queue['list']
  system: string
  worker: string
  /** Null: the embedded queue. */
  shared: SharedDeps | null
  /** `disabled` where there is no Supabase. */
  supabase: () => 'ok' | 'down' | 'disabled'
  /** Hears of each turn of that word, and of the word `down` that stands already; `why`: a sentence. */
  onSupabase: (listener: (word: 'ok' | 'down', why: string) => void) => void
  /** From now on changes of tasks are heard of, and the queue is told what happens here. Null: nobody else is there. */
  begin: ((fleet: Fleet, pulse?: StartPulse) => void) | null
  state: () => SharedState | null
  /** All workers of the system, up to 5 s old, or as the queue said last; null: the queue is this machine's own. */
  workers: (() => Promise<Worker[]>) | null
  /** The templates of the system, or as they were read last; likewise. */
  templates: (() => Promise<readonly Template[]>) | null
  close: () => Promise<void>
}

/** Who hears of tasks that were changed elsewhere, and tells of those that were changed here. */
export type Fleet = Pick<Supervisor, 'wake' | 'hintCancel' | 'changed' | 'refused' | 'agents' | 'subscribe'>

/** What a queue is chosen and opened with. */
export type ChoiceDeps = {
  config: Config
  /** The key of the Supabase project; null: the embedded queue. */
  secretKey: string | null
  db: Database
  notes: Notes
  projects: Projects
  version: string
  limitOf: (project: string) => RightsLimit
  clock: Clock
  logger: Logger
}
