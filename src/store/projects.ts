import { CcmError } from '../core/errors.ts'
import type { PermissionMode } from '../core/task.ts'
import type { Database } from './database.ts'

/** A directory that agents may work in. */
export type Project = {
  name: string
  /** Absolute, and unique among projects. */
  dir: string
  /** Whether the directory's own hooks, servers and settings may run; its tasks wait while it is false. */
  trusted: boolean
  model: string | null
  permissionMode: PermissionMode | null
  allowedTools: string[]
  disallowedTools: string[]
  createdAt: number
}

/** The registered projects. */
export type Projects = {
  /** Throws CONFLICT when the name or the directory is taken. */
  add: (project: Project) => void
  byName: (name: string) => Project | null
  byDir: (dir: string) => Project | null
  /** False when there is no such project. */
  setTrusted: (name: string, trusted: boolean) => boolean
  /** By name. */
  list: () => Project[]
  /** Names of those whose tasks may be claimed. */
  trustedNames: () => string[]
}

type Row = {
  name: string
  dir: string
  trusted: number
  model: string | null
  permission_mode: string | null
  allowed_tools: string
  disallowed_tools: string
  created_at: number
}

/** Projects on the local database. */
export function createProjects(db: Database): Projects {
  const insert = db.prepare<Row>(
    `INSERT INTO projects
       (name, dir, trusted, model, permission_mode, allowed_tools, disallowed_tools, created_at)
     VALUES (:name, :dir, :trusted, :model, :permission_mode, :allowed_tools, :disallowed_tools, :created_at)`,
  )
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
    setTrusted: (name, trusted) => trust.run({ name, trusted: Number(trusted) }) > 0,
    list: () => list.all({}).map(fromRow),
    trustedNames: () => trusted.all({}).map((row) => row.name),
  }
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
  }
}

function toProject(row: Row | undefined): Project | null {
  return row === undefined ? null : fromRow(row)
}

function fromRow(row: Row): Project {
  return {
    name: row.name,
    dir: row.dir,
    trusted: row.trusted === 1,
    model: row.model,
    permissionMode: row.permission_mode as PermissionMode | null,
    allowedTools: JSON.parse(row.allowed_tools) as string[],
    disallowedTools: JSON.parse(row.disallowed_tools) as string[],
    createdAt: row.created_at,
  }
}
