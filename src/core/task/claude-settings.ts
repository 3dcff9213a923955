import type { PermissionMode } from './task.ts'

/** How this machine starts Claude Code for every agent. */
export type ClaudeSettings = {
  /** Program to start; null: search for it. */
  command: string | null
  /** Further arguments for every agent. */
  args: string[]
  /** Null: Claude Code's own choice. */
  model: string | null
  permissionMode: PermissionMode
  allowedTools: string[]
  disallowedTools: string[]
  /** Added to every agent's environment; may hold secrets: never log it. */
  env: Record<string, string>
}
