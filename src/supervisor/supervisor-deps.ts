import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import type { Meters } from '../core/incident/meters.ts'
import type { Lease, ProjectLimits, Queue } from '../core/task/queue.ts'
import type { Redactor } from '../core/redact.ts'
import type { Task } from '../core/task/task.ts'
import type { Attempts } from '../store/attempts.ts'
import type { HookEvents } from '../store/hook-events.ts'
import type { Incidents } from '../store/incidents.ts'
import type { Notes } from '../store/notes.ts'
import type { Outbox } from '../store/outbox.ts'
import type { PermissionRules } from '../store/permission-rules.ts'
import type { Projects } from '../store/projects.ts'
import type { Worktrees } from '../store/worktrees.ts'
import type { TmuxServer } from '../tmux/server.ts'
import type { StartPulse } from './loops/beats.ts'
import type { BlackBox } from './incidents/black-box.ts'
import type { Budgets } from './claims/budgets.ts'
import type { Fence } from './shared/fence.ts'
import type { RecoverySettings } from './incidents/recovery.ts'
import type { Settings } from './attempts/settings.ts'

/** What a fleet is made of; nothing of it is opened or closed by it. */
export type SupervisorDeps = {
  worktrees: Worktrees
  settings: Settings
  queue: Queue
  attempts: Attempts
  hookEvents: HookEvents
  outbox: Outbox
  projects: Projects
  /** What is stored passes through it. */
  redactor: Redactor
  rules: PermissionRules
  budgets: Budgets
  incidents: Incidents
  notes: Notes
  blackBox: BlackBox
  recovery: RecoverySettings
  tmux: TmuxServer
  clock: Clock
  logger: Logger
  /** Where the queue is shared with other machines; `queue` is then one of `createSharedQueue`. */
  shared?: SharedDeps
  /** Counts what happens; nobody reads it unless told. */
  meters?: Meters
  /** Watches each loop until it is closed. */
  pulse?: StartPulse
}

/** What a queue is asked for besides tasks when other machines share it. */
export type SharedDeps = {
  /** Makes this process the worker, unless it is already. */
  register: () => Promise<void>
  /** The projects of this machine have changed. */
  describe: () => Promise<void>
  /** What is set for the projects of all machines, by whomever. */
  limits: () => Promise<ProjectLimits[]>
  /** The task as it was claimed; null: not by this home. */
  claimed: (lease: Lease) => Task | null
  /** It was accepted here, and the queue does not have it yet. */
  waitsHere: (taskId: string) => boolean
  /** It is to be cancelled, and the queue has not heard of that. */
  cancelWaits: (taskId: string) => boolean
  fence: Fence
}
