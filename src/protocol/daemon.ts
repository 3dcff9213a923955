import { z } from 'zod'
import { at } from './time.ts'

/** `GET /api/status`. */
export const StatusJson = z
  .object({
    pid: z.int(),
    port: z.int(),
    home: z.string(),
    version: z.string(),
    /** What the queue calls this daemon. */
    worker: z.string(),
    uptime_s: z.number(),
    /** Living agents. */
    agents: z.int(),
    max_concurrent: z.int(),
    queued: z.int(),
    running: z.int(),
    /** Why nothing is claimed right now, if so. */
    holds: z.array(z.string()),
    tmux: z.enum(['ok', 'down']),
    /** Socket of the tmux server that holds the agents' windows, for `tmux -S`. */
    tmux_socket: z.string(),
    claude: z.union([z.object({ path: z.string(), version: z.string() }), z.object({ problem: z.string() })]),
    /** Hook events of names nobody knows (by name, 20 at most), that could not be read, and that could not be written. */
    events: z.object({
      unknown: z.record(z.string(), z.int()),
      /** Those of all other unknown names together. */
      unknown_others: z.int(),
      unreadable: z.int(),
      lost: z.int(),
    }),
    /** Who starts the daemon again when it dies: `shell` is what `ccm start` left; null: nobody. */
    kept_by: z.enum(['systemd', 'launchd', 'shell']).nullable(),
    /** How the queue in Supabase is; null where the queue is this machine's own. */
    shared: z
      .object({
        system: z.string(),
        supabase: z.enum(['ok', 'down']),
        realtime: z.enum(['connecting', 'ready', 'broken']),
        /** Changes of tasks that Realtime told of, since the start of the daemon as all of these. */
        events: z.int(),
        /** How often it became ready, and how many channels and clients that took. */
        readies: z.int(),
        channels: z.int(),
        clients: z.int(),
        /** Looks without a nudge, and new tasks claimed that no event had told of. */
        sweeps: z.int(),
        unannounced: z.int(),
        /** When the limits of projects were read there last: a minute ago at most where it answers. */
        limits_read_at: at.nullable(),
        /** The templates there: when they were read last (null: never), and why some cannot be used. */
        templates: z.object({ read_at: at.nullable(), usable: z.int(), faults: z.array(z.string()) }),
      })
      .nullable(),
    /** What the last start found and did about it, one sentence each. */
    found_at_start: z.array(z.string()),
  })
  .meta({ id: 'Status' })
export type StatusJson = z.output<typeof StatusJson>

/**
 * `GET /api/status` for a credential of some projects: what the daemon does for them, by its counts, and nothing of the
 * machine. Why a task of theirs waits stands in its `state_reason`.
 */
export const OwnStatusJson = StatusJson.pick({
  version: true,
  worker: true,
  uptime_s: true,
  agents: true,
  queued: true,
  running: true,
  tmux: true,
}).meta({ id: 'OwnStatus' })
export type OwnStatusJson = z.output<typeof OwnStatusJson>

/** `GET /health` and its parts, for anyone and so in words and ages only; 503 when it is `failing`. */
export const HealthJson = z
  .object({ status: z.enum(['ok', 'degraded', 'failing', 'disabled']) })
  .catchall(z.union([z.string(), z.number()]))
  .meta({ id: 'Health' })
export type HealthJson = z.output<typeof HealthJson>

/** `keep`: agents go on in their windows and the next start takes them over. `end`: their tasks are released. */
export const ShutdownBody = z.strictObject({ agents: z.enum(['keep', 'end']).default('keep') })

/** `POST /api/shutdown`. */
export const ShutdownJson = z.object({ stopping: z.literal(true), agents: z.enum(['keep', 'end']) })
export type ShutdownJson = z.output<typeof ShutdownJson>
