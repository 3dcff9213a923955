import type { ClaudeSettings } from '../../core/task/claude-settings.ts'
import type { Guard } from '../../agent/guard.ts'
import type { Deadlines } from '../../core/agent/deadline.ts'
import type { Markers } from '../../core/record/marker.ts'
import type { OutsideLimit } from '../../core/task/restricted.ts'
import type { Attempt } from '../../core/agent/attempt.ts'

/** What the supervisor was told by configuration and composition; plain data and one function. */
export type Settings = {
  /** Absolute folder of all state. */
  home: string
  /** The home folder of the user agents run as. */
  userHome: string
  hookScript: string
  /** What agents inherit of the daemon's environment. */
  inherited: Record<string, string>
  claude: ClaudeSettings
  /** What tasks from outside may do. */
  outside: OutsideLimit
  /** What runs an agent in a scope of its own, but for the scope's name; null where none can be had. */
  scope?: () => Promise<string[] | null>
  /** What ends agents whose lease nobody renewed; null or absent: no other worker can have their tasks. */
  guard?: Guard | null
  maxConcurrent: number
  minFreeMemoryMb: number
  /** The roles of tasks this worker takes, null: any; a task's labels must all be among its labels. */
  takes: { roles: string[] | null; labels: string[] }
  markers: Markers & { unmarked: 'fail' | 'succeed'; nudges: number }
  deadlines: Deadlines
  exitMs: number
  /** How long after their last key somebody counts as being at an agent's window. */
  attendedMs: number
  /** How long a permission request is held for a person before only its dialog is left. */
  askMs: number
  heartbeatMs: number
  /** As the queue knows this daemon. */
  worker: string
  /** How long a task that is over is kept. */
  keepMs: number
  /** How often the dispatcher looks without being nudged. */
  sweepMs: number
  /** How often screens are read while agents work, and when all of them only wait. */
  look: { busyMs: number; quietMs: number }
  /** Where an attempt's permission requests are held open; null until the daemon listens. */
  ask: (attempt: Attempt) => { url: string; secret: string } | null
}
