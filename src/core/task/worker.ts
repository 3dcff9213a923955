import type { Incident } from '../incident/incident.ts'

/** A daemon as the queue knows it. Times are milliseconds since 1970. */
export type Worker = {
  id: string
  host: string
  version: string
  /** How many agents it runs at once, and how many it ran at its last heartbeat. */
  capacity: number
  running: number
  /** Null: any. */
  roles: string[] | null
  labels: string[]
  /** Its own directories by project. */
  projects: Record<string, string>
  /** It gets nothing new. */
  draining: boolean
  /** Its last heartbeat, and how long ago that was: both by the clock of the queue, which is not the one of this machine. */
  seenAt: number
  silentMs: number
}

/** How the shared queue and its subscription are, and what they did since the daemon's start. */
export type SharedState = {
  system: string
  supabase: 'ok' | 'down'
  realtime: 'connecting' | 'ready' | 'broken'
  /** Changes of tasks that Realtime told of, and how often it became ready. */
  events: number
  readies: number
  channels: number
  clients: number
  /** Looks without a nudge, and new tasks claimed that no event had told of. */
  sweeps: number
  unannounced: number
  /** When the limits of projects were read there last; null: not since the daemon's start. Milliseconds since 1970. */
  limitsReadAt: number | null
  templates: SharedTemplatesState
}

/** The templates in Supabase as this machine knows them. */
export type SharedTemplatesState = {
  /** When they were read last; null: never. Milliseconds since 1970. */
  readAt: number | null
  usable: number
  /** Rows that cannot be used, one sentence each. */
  faults: string[]
}

/** Something that happened to a task's agent, for people who look at the shared queue. */
export type TaskEvent = {
  taskId: string
  attempt: number
  /** Unique in the attempt; the same event has the same one whenever it is sent. */
  seq: number
  at: number
  kind: 'state' | 'summary'
  message: string
  data: Record<string, unknown>
}

/** What went wrong on a worker, as its own record has it. Sent again it changes the row: its end comes later. */
export type SharedIncident = Omit<Incident, 'id'> & {
  /** Unique for the worker, whichever home it had. */
  seq: number
}

/** What a worker did in one minute, which begins at `minute`. */
export type MetricsMinute = {
  minute: number
  /** At the last look in it. */
  running: number
  queued: number
  /** Attempts that ended in it. */
  succeeded: number
  failed: number
  cancelled: number
  released: number
  inputTokens: number
  outputTokens: number
  costUsd: number
}
