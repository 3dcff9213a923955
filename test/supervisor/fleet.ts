import { PLAIN_TASK } from '../../src/core/task/task.ts'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { createRedactor } from '../../src/core/redact.ts'
import type { Queue } from '../../src/core/task/queue.ts'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import { createAttempts } from '../../src/store/attempts.ts'
import { createHookEvents } from '../../src/store/hook-events.ts'
import { createIncidents } from '../../src/store/incidents.ts'
import { createNotes } from '../../src/store/notes.ts'
import { createOutbox } from '../../src/store/outbox.ts'
import { createPermissionRules } from '../../src/store/permission-rules.ts'
import { createProjects } from '../../src/store/projects.ts'
import { createSpending } from '../../src/store/spending.ts'
import { openForTest } from '../../src/store/temporary-database.ts'
import { createWorktrees } from '../../src/store/worktrees.ts'
import { createBlackBox } from '../../src/supervisor/incidents/black-box.ts'
import { createBudgets } from '../../src/supervisor/claims/budgets.ts'
import { projectOf } from '../../src/supervisor/workspaces/intake.ts'
import type { SupervisorDeps } from '../../src/supervisor/supervisor-deps.ts'
import { openTmuxServer, type TmuxServer } from '../../src/tmux/server.ts'

/**
 * An agent as ccm sees one, without Claude Code: it reports a session and a prompt into its spool, works until the
 * file `go` is in its attempt's folder, shows what is put into the file `said` there, says [DONE] and stays until it
 * is ended.
 */
const AGENT = `#!/bin/sh
if [ "$1" = --version ]; then echo "2.1.328 (Claude Code)"; exit 0; fi
while [ $# -gt 0 ]; do
  case "$1" in --settings) settings=$2;; --session-id|--resume) session=$2;; esac
  shift
done
attempt=$(dirname "$settings")
say() { n=$((n + 1)); printf '%s' "$1" >"$attempt/spool/$n.part" && mv "$attempt/spool/$n.part" "$attempt/spool/00$n.json"; }
hook() { say "{\\"session_id\\":\\"$session\\",$1}"; }
hook '"hook_event_name":"SessionStart","source":"startup"'
hook '"hook_event_name":"UserPromptSubmit","prompt":"x"'
echo $$ >"$attempt/agent.pid"
while [ ! -e "$attempt/go" ]; do
  [ -e "$attempt/said" ] && cat "$attempt/said" && rm "$attempt/said"
  sleep 0.2
done
hook '"hook_event_name":"Stop","last_assistant_message":"It is done.\\n[DONE]"'
while :; do sleep 1; done
`

/** One home with its tmux server and database; daemons come and go on it. */
export type Fleet = {
  home: string
  folder: string
  tmux: TmuxServer
  deps: SupervisorDeps
  db: ReturnType<typeof openForTest>
  queue: Queue
  /** As a new daemon of this home would: the worker is registered again. */
  newQueue: () => Queue
  /** Adds a task and returns its id; a project of another name gets a directory of its own. */
  add: (prompt: string, project?: string) => Promise<string>
  /** The pid of an attempt's agent, once it works. */
  agentOf: (taskId: string, attempt?: number) => Promise<number>
  letGo: (taskId: string, attempt?: number) => void
  [Symbol.asyncDispose]: () => Promise<void>
}

/** Builds the parts of a daemon over a temporary home; `createSupervisor(fleet.deps)` makes one of them. */
export async function createFleet(): Promise<Fleet> {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-fleet-'))
  const home = join(folder, 'home')
  for (const dir of [home, join(folder, 'config')]) mkdirSync(dir, { recursive: true, mode: 0o700 })
  const claude = join(folder, 'claude')
  writeFileSync(claude, AGENT)
  chmodSync(claude, 0o755)
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: folder, LANG: 'C.UTF-8' }
  const tmux = await openTmuxServer({ folder: join(home, 'tmux'), env })
  const clock = Date.now
  const db = openForTest(join(home, 'ccm.db'), clock)
  const newQueue = () => createSqliteQueue({ db, system: 'local', worker: 'local', clock, random: () => 0.5 })
  const queue = newQueue()
  await queue.register()
  const projects = createProjects(db)
  const logger = pino({ level: 'silent' })
  const noLimits = { maxTokens: null, maxCostUsd: null }
  const deps: SupervisorDeps = {
    settings: {
      home,
      userHome: folder,
      hookScript: '/bin/true',
      inherited: env,
      outside: { permissionMode: 'acceptEdits', allowedTools: [], templateTools: [] },
      claude: {
        command: claude,
        args: [],
        model: null,
        permissionMode: 'acceptEdits',
        allowedTools: [],
        disallowedTools: [],
        env: { CLAUDE_CONFIG_DIR: join(folder, 'config') },
      },
      maxConcurrent: 20,
      minFreeMemoryMb: 0,
      takes: { roles: null, labels: [] },
      markers: { done: '[DONE]', error: '[ERROR]', unmarked: 'fail', nudges: 0 },
      deadlines: { startMs: 60_000, noActivityMs: 300_000, totalMs: 1_800_000, waitingMs: 86_400_000 },
      exitMs: 300,
      attendedMs: 900_000,
      askMs: 86_400_000,
      heartbeatMs: 60_000,
      worker: 'local',
      keepMs: 86_400_000,
      sweepMs: 500,
      look: { busyMs: 200, quietMs: 200 },
      ask: () => null,
    },
    queue,
    attempts: createAttempts(db),
    hookEvents: createHookEvents(db),
    outbox: createOutbox(db),
    projects,
    worktrees: createWorktrees(db, clock),
    redactor: createRedactor(),
    rules: createPermissionRules(db),
    budgets: createBudgets({
      settings: { task: noLimits, day: noLimits },
      spending: createSpending(db),
      projects,
      costOf: async () => 0,
      clock,
    }),
    incidents: createIncidents(db),
    notes: createNotes(db),
    blackBox: createBlackBox({ file: join(home, 'at-work'), notes: createNotes(db), logger }),
    recovery: {
      breaker: { failures: 3, windowMs: 60_000, pauseMs: 500, maxPauseMs: 1000 },
      alerts: {
        daemonDownMs: 300_000,
        failureRate: 100,
        windowMs: 3_600_000,
        startFailures: 100,
        queueAgeMs: 3_600_000,
        waitingMs: 3_600_000,
      },
      notifiers: [],
      park: true,
    },
    tmux,
    clock,
    logger,
  }
  const attemptFolder = (id: string, attempt: number) => join(home, 'attempts', `${id}.${attempt}`)
  function register(name: string): void {
    const dir = join(folder, name)
    mkdirSync(dir, { recursive: true })
    projectOf(projects, clock, { dir, name, trust: true })
  }
  register('work')
  return {
    home,
    folder,
    tmux,
    deps,
    db,
    queue,
    newQueue,
    async add(prompt, project = 'work') {
      if (projects.byName(project) === null) register(project)
      const { task } = await queue.insert({ ...TASK, prompt, project })
      return task.id
    },
    agentOf: (id, attempt = 1) =>
      eventually(() => Number(read(join(attemptFolder(id, attempt), 'agent.pid'))) || null),
    letGo: (id, attempt = 1) => writeFileSync(join(attemptFolder(id, attempt), 'go'), ''),
    async [Symbol.asyncDispose]() {
      await tmux.kill()
      db.close()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Waits until `look` gives something. */
export async function eventually<T>(look: () => T | Promise<T>, limitMs = 15_000): Promise<NonNullable<T>> {
  const end = performance.now() + limitMs
  for (;;) {
    const found = await look()
    if (found) return found
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${look.toString()}`)
    await sleep(20)
  }
}

/** True while a process has this id and is no zombie. */
export function isAlive(pid: number): boolean {
  return /\) [^ZX] [^)]*$/.test(read(`/proc/${pid}/stat`))
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

const TASK = {
  ...PLAIN_TASK,
  source: 'api',
}
