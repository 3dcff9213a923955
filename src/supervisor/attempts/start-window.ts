import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { keepSnapshot, readSnapshot, type Snapshot, snapshotTree } from '../../agent/changes.ts'
import type { Claude } from '../../agent/claude.ts'
import {
  agentEnvironment,
  hasOwnLogin,
  restrictedEnvironment,
  restrictedInherited,
} from '../../agent/environment.ts'
import { attemptFiles, prepareLaunch, type LaunchOptions } from '../../agent/launch.ts'
import { killTree } from '../../agent/process-tree.ts'
import type { AgentEnd } from '../../agent/agent-end.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import { clip } from '../../core/clip.ts'
import { CcmError, messageOf } from '../../core/errors.ts'
import { toAskFor, toMatcher, type PermissionRule } from '../../core/permission/permission-rule.ts'
import type { Lease } from '../../core/task/queue.ts'
import { isRestricted, restrictedRights } from '../../core/task/restricted.ts'
import type { PermissionMode, Task } from '../../core/task/task.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { PermissionRules } from '../../store/permission-rules.ts'
import type { Project } from '../../store/projects.ts'
import { listPanes } from '../../tmux/pane.ts'
import type { TmuxServer } from '../../tmux/server.ts'
import { killWindow, openWindow, renameLeft } from '../../tmux/window.ts'
import type { Ingest } from '../ingest/ingest.ts'
import type { Spool } from '../ingest/reading.ts'
import { usableDirectory } from '../workspaces/intake.ts'
import { isPaneOf, rootOf } from './pane-of.ts'
import { findResumable } from './resume.ts'
import type { Settings } from './settings.ts'
import type { Workspaces } from '../workspaces/workspaces.ts'

/** What changed in a worktree is told by its commits. */
const BY_COMMITS: Snapshot = { kind: 'unknown', reason: 'The changes of this task were not recorded.' }

/** The record of an attempt before anything of it exists. */
export function newAttempt(task: Task, project: Project | null, settings: Settings, at: number): Attempt {
  return {
    taskId: task.id,
    attempt: task.attempt,
    phase: 'claimed',
    dir: project?.dir ?? '/',
    folder: join(settings.home, 'attempts', `${task.id}.${task.attempt}`),
    claudeSessionId: randomUUID(),
    resumed: false,
    configDir: configDirFor(task.id, settings),
    permissionMode: rightsOf(task, project, settings).permissionMode,
    serverPid: null,
    serverStartedAt: null,
    windowId: null,
    paneId: null,
    windowName: null,
    state: 'spawning',
    waitKind: null,
    stateReason: 'The window is being opened.',
    stateAt: at,
    startedAt: at,
    settledAt: null,
    pausedMs: 0,
    endKind: null,
  }
}

/** The mode and the rules that allow tools: everybody's own on top of each other, or what is left of them. */
function rightsOf(
  task: Task,
  project: Project | null,
  { claude, outside }: Settings,
): { permissionMode: PermissionMode; allowedTools: string[] } {
  const permissionMode = task.permissionMode ?? project?.permissionMode ?? claude.permissionMode
  if (isRestricted(task))
    return restrictedRights({ permissionMode, allowedTools: task.allowedTools }, outside)
  const ofProject = project?.allowedTools ?? []
  return { permissionMode, allowedTools: [...claude.allowedTools, ...ofProject, ...task.allowedTools] }
}

/** The user's own where the user's own login is used; else one a task, so that a retry finds its session. */
function configDirFor(taskId: string, { home, claude }: Settings): string | null {
  if (claude.env['CLAUDE_CONFIG_DIR']) return claude.env['CLAUDE_CONFIG_DIR']
  return hasOwnLogin(claude.env) ? join(home, 'claude', taskId) : null
}

/**
 * Makes an attempt's folder and opens its window; each step is announced in the database first, and `attempt`
 * has the window's ids afterwards. Throws what kept it from starting; then a window may exist all the same.
 */
export async function startWindow(
  deps: {
    settings: Settings
    tmux: TmuxServer
    attempts: Attempts
    rules: PermissionRules
    ingest: Ingest
    findClaude: () => Promise<Claude>
    workspaces: Workspaces
  },
  launch: {
    task: Task
    attempt: Attempt
    project: Project | null
    windowName: string
    spool: Spool
    signal: AbortSignal
    /** What takes long, one sentence each. */
    onStep: (sentence: string) => void
  },
): Promise<{ panePid: number; before: Snapshot }> {
  const { settings, tmux, attempts, ingest } = deps
  const { task, attempt, project, windowName, spool, signal, onStep } = launch
  const files = attemptFiles(attempt.folder)
  if (project === null) throw new CcmError('NOT_FOUND', `The project ${task.project} is gone.`)
  usableDirectory(attempt.dir)
  refuseUnsafeRoot(attempt.permissionMode, settings.claude.env)
  mkdirSync(files.spool, { recursive: true, mode: 0o700 })
  const claude = await deps.findClaude()
  const env = agentEnvironment({
    inherited: settings.inherited,
    claudeEnv: {},
    configDir: null,
    taskId: task.id,
    attempt: task.attempt,
  })
  // Files that git ignores are where secrets are kept.
  const source = isRestricted(task) ? { ...project, copy: [], link: [] } : project
  attempt.dir = await deps.workspaces.prepare({ task, attempt, project: source }, { env, signal, onStep })
  attempts.setDir(attempt, attempt.dir)
  signal.throwIfAborted()
  // Only where it works now is its session found.
  const earlier = await findResumable(task, attempts, attempt)
  if (earlier !== null) {
    Object.assign(attempt, { claudeSessionId: earlier.claudeSessionId, resumed: true })
    attempts.setSession(attempt, earlier.claudeSessionId, true)
  }
  const inPlace = attempt.dir === project.dir
  const [before, argv] = await Promise.all([
    inPlace ? snapshotOf(attempt, earlier) : BY_COMMITS,
    prepare(task, attempt, earlier, project, claude, settings, deps.rules.of(project.name)),
  ])
  await keepSnapshot(files.before, before)
  attempts.setStarting(attempt)
  ingest.add(spool)
  const marks = { task: task.id, attempt: String(task.attempt), project: task.project }
  const { windowId, paneId, panePid } = await openWindow(tmux, { name: windowName, argv, marks })
  const { pid, startedAt } = tmux.identity()
  const window = { serverPid: pid, serverStartedAt: startedAt, windowId, paneId, windowName }
  attempts.setStarted(attempt, window)
  Object.assign(attempt, window, { phase: 'started' })
  return { panePid, before }
}

/** What the files were before the first attempt of this session: its result names what all of them changed. */
async function snapshotOf(attempt: Attempt, earlier: Attempt | null): Promise<Snapshot> {
  const { before } = attemptFiles(attempt.folder)
  const kept = earlier === null ? null : attemptFiles(earlier.folder).before
  const known = kept === null ? null : await readSnapshot(kept)
  if (kept === null || known === null) return snapshotTree(attempt.dir, before)
  await cp(kept, before, { recursive: true })
  return known.kind === 'git' ? { ...known, folder: before } : known
}

async function prepare(
  task: Task,
  attempt: Attempt,
  earlier: Attempt | null,
  project: Project,
  claude: Claude,
  settings: Settings,
  rules: PermissionRule[],
): Promise<string[]> {
  const own = settings.claude
  const restricted = isRestricted(task)
  const forbidding = rules.filter(({ effect }) => effect !== 'allow')
  return prepareLaunch({
    task,
    attempt,
    projectDir: project.dir,
    claude,
    restricted,
    args: restricted ? [] : own.args,
    resume:
      earlier === null ? null : clip(earlier.stateReason.replaceAll(/\s+/g, ' ').replace(/\.$/, ''), 200),
    model: task.model ?? project.model ?? own.model,
    allowedTools: rightsOf(task, project, settings).allowedTools,
    disallowedTools: [...own.disallowedTools, ...project.disallowedTools, ...task.disallowedTools],
    inherited: restricted ? restrictedInherited(settings.inherited) : settings.inherited,
    claudeEnv: restricted ? restrictedEnvironment(own.env) : own.env,
    markers: settings.markers,
    hookScript: settings.hookScript,
    scope: (await settings.scope?.()) ?? null,
    guard: settings.guard ?? null,
    ask: askOf(settings, attempt),
    askFor: forbidding.flatMap(({ rule }) => toAskFor(rule, attempt.dir)),
    lookAt: toMatcher(forbidding),
  })
}

function askOf(settings: Settings, attempt: Attempt): LaunchOptions['ask'] {
  const ask = settings.ask(attempt)
  return ask === null ? null : { ...ask, holdMs: settings.askMs }
}

/** A window that could not be opened is not the task's fault; a directory that is gone is. */
export function startFailure(error: unknown): AgentEnd {
  const code: string = error instanceof CcmError ? error.code : 'INTERNAL'
  const remedy = error instanceof CcmError ? (error.remedy ?? '') : ''
  const end = {
    error: `The agent could not be started: ${messageOf(error)}`,
    message: '',
    retryAfterMs: null,
  }
  switch (code) {
    case 'DIR_UNUSABLE':
    case 'NOT_FOUND':
    case 'BAD_INPUT':
      return { ...end, outcome: 'failed_permanent', kind: 'start' }
    // Networks and disks heal; a fourth try would tell nothing new.
    case 'SETUP_FAILED':
      return { ...end, outcome: 'failed', kind: 'setup', error: `${messageOf(error)}\n${remedy}`.trim() }
    case 'WORKSPACE_FAILED':
      return { ...end, outcome: 'failed', kind: 'workspace', error: `${messageOf(error)} ${remedy}`.trim() }
    case 'DIR_BUSY':
      return { ...end, outcome: 'released', kind: 'busy', error: messageOf(error), retryAfterMs: BUSY_MS }
    default:
      return { ...end, outcome: 'released', kind: 'start' }
  }
}

/** It is not claimed again while the directory is taken; this is for whoever took it in the same moment. */
const BUSY_MS = 5000

/**
 * A launch that failed may have opened its window all the same: tmux answered too late, or not at all. The window stays,
 * under another name, until nothing of its agent is left: without an open attempt the next daemon knows of these
 * processes by its marks only. Returns and throws as `killTree` does.
 */
export async function endHalfStarted(tmux: TmuxServer, lease: Lease): Promise<number[]> {
  const panes = (await listPanes(tmux).catch(() => [])).filter((pane) => isPaneOf(pane, lease))
  for (const { windowId } of panes) await renameLeft(tmux, windowId).catch(() => undefined)
  const [own] = panes
  const left = await killTree({ ...lease, rootPid: own === undefined ? null : rootOf(own) })
  if (left.length > 0) return left
  for (const { windowId } of panes) await killWindow(tmux, windowId).catch(() => undefined)
  return left
}

/** Claude Code itself refuses it, and would only be started to say so; ccm never sets the variable. */
function refuseUnsafeRoot(permissionMode: string, env: Record<string, string>): void {
  if (permissionMode !== 'bypassPermissions' || process.getuid?.() !== 0) return
  if (env['IS_SANDBOX'] !== undefined && env['IS_SANDBOX'] !== '') return
  throw new CcmError(
    'BAD_INPUT',
    'Claude Code does not bypass permissions for root. Use another permission mode or user; in a sandbox, set IS_SANDBOX = "1" in [claude.env].',
  )
}
