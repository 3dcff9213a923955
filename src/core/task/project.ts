import type { PermissionMode } from './task.ts'

/**
 * What a project sets for its tasks; null leaves it to the task and the worker's configuration. A project may
 * only narrow what the configuration of the machine allows.
 */
export type ProjectSettings = {
  model: string | null
  permissionMode: PermissionMode | null
  /** Rules as in Claude Code, `Bash(npm run test:*)` say. */
  allowedTools: string[]
  disallowedTools: string[]
  /** At most so many tasks of the project at once; null: no limit of its own. */
  maxRunning: number | null
  /** True: its tasks stay queued. */
  paused: boolean
  /** Of one attempt, in seconds. */
  timeoutS: number | null
  /** Of a task that asks for none; -100 to 100. */
  priority: number
  /** True: tasks work in the directory itself, one at a time; false: each in a git worktree of its own. */
  inPlace: boolean
  /** Shell commands run in a new worktree before the agent starts. */
  setup: string[]
  /** How long one setup command may take, in seconds; null: the worker's default. */
  setupTimeoutS: number | null
  /** Patterns of ignored files that a new worktree gets a copy of, `.env` say, or a link to, `node_modules` say. */
  copy: string[]
  link: string[]
  /** Budgets, in tokens and US dollars: of one task over its attempts, and of all its tasks in a day. */
  maxTokens: number | null
  maxCostUsd: number | null
  maxTokensPerDay: number | null
  maxCostUsdPerDay: number | null
}

/** The settings of a project that set nothing. */
export function defaultProjectSettings(): ProjectSettings {
  return {
    model: null,
    permissionMode: null,
    allowedTools: [],
    disallowedTools: [],
    maxRunning: null,
    paused: false,
    timeoutS: null,
    priority: 0,
    inPlace: false,
    setup: [],
    setupTimeoutS: null,
    copy: [],
    link: [],
    maxTokens: null,
    maxCostUsd: null,
    maxTokensPerDay: null,
    maxCostUsdPerDay: null,
  }
}
