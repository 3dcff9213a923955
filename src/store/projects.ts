import { CcmError } from '../core/errors.ts'
import type { ProjectSettings } from '../core/task/project.ts'
import type { ProjectLimits } from '../core/task/queue.ts'
import type { PermissionMode } from '../core/task/task.ts'
import type { Database } from './database.ts'

/** A directory that agents may work in, with what it sets for its tasks. */
export type Project = ProjectSettings & {
  name: string
  /** Absolute, and unique among projects. */
  dir: string
  /** Whether the directory's own hooks, servers and settings may run; its tasks wait while it is false. */
  trusted: boolean
  createdAt: number
}

/** The registered projects. */
export type Projects = {
  /** Throws CONFLICT when the name or the directory is taken. */
  add: (project: Project) => void
  byName: (name: string) => Project | null
  byDir: (dir: string) => Project | null
  /**
   * Changes the settings that are given, all at once; null: there is no such project. Values must be valid. Limits
   * among them are owed to the queue from now on.
   */
  update: (name: string, changes: Partial<ProjectSettings>) => Project | null
  /** Forgets the project; null: there was none. Its tasks and its directory stay. */
  remove: (name: string) => Project | null
  /** False when there is no such project. */
  setTrusted: (name: string, trusted: boolean) => boolean
  /** Limits that were set here and that the queue has not heard of, by name. */
  owedLimits: () => ProjectLimits[]
  /** The queue has heard of these; what was set meanwhile is still owed. */
  toldLimits: (limits: ProjectLimits) => void
  /** Takes limits over that were set elsewhere, unless they were changed here since `seen`; true: they are new. */
  takeLimits: (seen: ProjectLimits, limits: ProjectLimits) => boolean
  /** By name. */
  list: () => Project[]
  /** Names of those whose tasks may be claimed. */
  trustedNames: () => string[]
}

type Limits = { name: string; max_running: number | null; paused: number }
type Row = Record<(typeof COLUMNS)[number], string | number | null> & { name: string; dir: string }

const COLUMNS = [
  'name',
  'dir',
  'trusted',
  'model',
  'permission_mode',
  'allowed_tools',
  'disallowed_tools',
  'created_at',
  'max_running',
  'paused',
  'timeout_s',
  'priority',
  'in_place',
  'setup',
  'setup_timeout_s',
  'copy',
  'link',
  'max_tokens',
  'max_cost_usd',
  'max_tokens_per_day',
  'max_cost_usd_per_day',
] as const

/** Projects on the local database. */
export function createProjects(db: Database): Projects {
  const insert = db.prepare<Row>(
    `INSERT INTO projects (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map((name) => `:${name}`).join(', ')})`,
  )
  const update = db.prepare<Row>(
    `UPDATE projects SET ${COLUMNS.map((name) => `${name} = :${name}`).join(', ')} WHERE name = :name`,
  )
  const owe = db.prepare<{ name: string }>('UPDATE projects SET limits_owed = 1 WHERE name = :name')
  const owed = db.prepare<Record<string, never>, Row>(
    'SELECT * FROM projects WHERE limits_owed = 1 ORDER BY name',
  )
  const told = db.prepare<Limits>(
    'UPDATE projects SET limits_owed = 0 WHERE name = :name AND max_running IS :max_running AND paused = :paused',
  )
  const take = db.prepare<Limits & { new_max_running: number | null; new_paused: number }>(
    `UPDATE projects SET max_running = :new_max_running, paused = :new_paused
     WHERE name = :name AND limits_owed = 0 AND max_running IS :max_running AND paused = :paused
       AND (max_running IS NOT :new_max_running OR paused <> :new_paused)`,
  )
  const remove = db.prepare<{ name: string }>('DELETE FROM projects WHERE name = :name')
  const byName = db.prepare<{ name: string }, Row>('SELECT * FROM projects WHERE name = :name')
  const byDir = db.prepare<{ dir: string }, Row>('SELECT * FROM projects WHERE dir = :dir')
  const trust = db.prepare<{ name: string; trusted: number }>(
    'UPDATE projects SET trusted = :trusted WHERE name = :name',
  )
  const list = db.prepare<Record<string, never>, Row>('SELECT * FROM projects ORDER BY name')
  const trusted = db.prepare<Record<string, never>, { name: string }>(
    'SELECT name FROM projects WHERE trusted = 1 ORDER BY name',
  )

  return {
    add: (project) =>
      db.transaction(() => {
        const sameName = byName.get({ name: project.name })
        if (sameName !== undefined) {
          throw new CcmError('CONFLICT', `The project ${project.name} exists already, for ${sameName.dir}.`)
        }
        const sameDir = byDir.get({ dir: project.dir })
        if (sameDir !== undefined) {
          throw new CcmError('CONFLICT', `${project.dir} is registered already, as project ${sameDir.name}.`)
        }
        insert.run(toRow(project))
      }),
    byName: (name) => toProject(byName.get({ name })),
    byDir: (dir) => toProject(byDir.get({ dir })),
    update: (name, changes) =>
      db.transaction(() => {
        const before = toProject(byName.get({ name }))
        if (before === null) return null
        const after = { ...before, ...changes }
        update.run(toRow(after))
        if ('maxRunning' in changes || 'paused' in changes) owe.run({ name })
        return after
      }),
    remove: (name) =>
      db.transaction(() => {
        const before = toProject(byName.get({ name }))
        remove.run({ name })
        return before
      }),
    setTrusted: (name, trusted) => trust.run({ name, trusted: Number(trusted) }) > 0,
    owedLimits: () => owed.all({}).map(fromRow).map(limitsOf),
    toldLimits: (limits) => void told.run(toLimits(limits)),
    takeLimits: (seen, { maxRunning, paused }) =>
      take.run({ ...toLimits(seen), new_max_running: maxRunning, new_paused: Number(paused) }) > 0,
    list: () => list.all({}).map(fromRow),
    trustedNames: () => trusted.all({}).map((row) => row.name),
  }
}

/** What the queue itself must know of a project. */
export function limitsOf({ name, maxRunning, paused }: ProjectLimits): ProjectLimits {
  return { name, maxRunning, paused }
}

function toLimits({ name, maxRunning, paused }: ProjectLimits): Limits {
  return { name, max_running: maxRunning, paused: Number(paused) }
}

function toRow(project: Project): Row {
  return {
    name: project.name,
    dir: project.dir,
    trusted: Number(project.trusted),
    model: project.model,
    permission_mode: project.permissionMode,
    allowed_tools: JSON.stringify(project.allowedTools),
    disallowed_tools: JSON.stringify(project.disallowedTools),
    created_at: project.createdAt,
    max_running: project.maxRunning,
    paused: Number(project.paused),
    timeout_s: project.timeoutS,
    priority: project.priority,
    in_place: Number(project.inPlace),
    setup: JSON.stringify(project.setup),
    setup_timeout_s: project.setupTimeoutS,
    copy: JSON.stringify(project.copy),
    link: JSON.stringify(project.link),
    max_tokens: project.maxTokens,
    max_cost_usd: project.maxCostUsd,
    max_tokens_per_day: project.maxTokensPerDay,
    max_cost_usd_per_day: project.maxCostUsdPerDay,
  }
}

function toProject(row: Row | undefined): Project | null {
  return row === undefined ? null : fromRow(row)
}

function fromRow(row: Row): Project {
  const list = (json: Row['setup']) => JSON.parse(String(json)) as string[]
  const count = (value: Row['timeout_s']) => (value === null ? null : Number(value))
  return {
    name: row.name,
    dir: row.dir,
    trusted: row.trusted === 1,
    createdAt: Number(row.created_at),
    model: row.model as string | null,
    permissionMode: row.permission_mode as PermissionMode | null,
    allowedTools: list(row.allowed_tools),
    disallowedTools: list(row.disallowed_tools),
    maxRunning: count(row.max_running),
    paused: row.paused === 1,
    timeoutS: count(row.timeout_s),
    priority: Number(row.priority),
    inPlace: row.in_place === 1,
    setup: list(row.setup),
    setupTimeoutS: count(row.setup_timeout_s),
    copy: list(row.copy),
    link: list(row.link),
    maxTokens: count(row.max_tokens),
    maxCostUsd: count(row.max_cost_usd),
    maxTokensPerDay: count(row.max_tokens_per_day),
    maxCostUsdPerDay: count(row.max_cost_usd_per_day),
  }
}
