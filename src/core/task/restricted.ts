import { narrowed, type Rights } from './rights.ts'
import type { PermissionMode } from './task.ts'

/** Senders of texts that nobody on this machine wrote. */
const OUTSIDE_SOURCES = ['github', 'telegram', 'alertmanager'] as const

const SUFFIX = '-restricted'

/**
 * Whether a task runs with the rights of `[outside]` only. Its source says so, because that is stored with the task
 * in every queue and cannot be changed afterwards: a sender from outside, or any source that ends in `-restricted`.
 */
export function isRestricted({ source }: { source: string }): boolean {
  return source.endsWith(SUFFIX) || OUTSIDE_SOURCES.some((outside) => outside === source)
}

/** The source by which a task is restricted, whoever asked for it; at most 40 characters as every source. */
export function restrictedSource(source: string): string {
  return isRestricted({ source }) ? source : `${source.slice(0, 40 - SUFFIX.length)}${SUFFIX}`
}

/** What a restricted task may do at most; `templateTools` are rules that the owner wrote into templates. */
export type OutsideLimit = {
  permissionMode: PermissionMode
  allowedTools: readonly string[]
  templateTools: readonly string[]
}

/** The rights of a restricted task: what it asks for as far as the limit goes, and the limit's own tools. */
export function restrictedRights(
  asked: Rights & { permissionMode: PermissionMode },
  limit: OutsideLimit,
): { permissionMode: PermissionMode; allowedTools: string[] } {
  const { permissionMode, allowedTools, templateTools } = limit
  const within = narrowed(asked, { permissionMode, allowedTools: [...allowedTools, ...templateTools] })
  return {
    permissionMode: within.permissionMode ?? permissionMode,
    allowedTools: [...new Set([...allowedTools, ...within.allowedTools])],
  }
}
