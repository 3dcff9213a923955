/** What a credential may do. `read`: see. `write`: add, cancel, retry and message tasks. `operate`: decide for agents and run projects. `admin`: everything, keys included. */
export const SCOPES = ['read', 'write', 'operate', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

/** Who asks. `projects` null: all of them; what belongs to another project does not exist for this caller. */
export type Principal = {
  kind: 'local' | 'key' | 'user'
  /** A key's id or a user's `sub`; `local` for the token file of this daemon. */
  id: string
  scopes: readonly Scope[]
  projects: readonly string[] | null
}

/** Whoever holds the daemon's own token file. */
export const LOCAL: Principal = { kind: 'local', id: 'local', scopes: ['admin'], projects: null }

/** Whether the principal may do what needs `scope`; `admin` may do everything, and is over all projects or none. */
export function allows({ scopes, projects }: Pick<Principal, 'scopes' | 'projects'>, scope: Scope): boolean {
  if (scope === 'admin') return scopes.includes('admin') && projects === null
  return scopes.includes('admin') || scopes.includes(scope)
}

/** Whether the principal may know of anything in this project. */
export function mayEnter(principal: Principal, project: string): boolean {
  return principal.projects === null || principal.projects.includes(project)
}

/** A key as it is kept: never the key itself. Times are milliseconds since 1970. */
export type ApiKey = {
  id: string
  name: string
  scopes: Scope[]
  /** Null: all projects. */
  projects: string[] | null
  createdAt: number
  expiresAt: number | null
  /** To the minute. */
  lastUsedAt: number | null
  revokedAt: number | null
}
