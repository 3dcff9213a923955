import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import { runCommandLine } from '../../src/cli.ts'
import type { CliContext, ConfigView } from '../../src/cli/context.ts'
import { createDaemonAccess } from '../../src/cli/daemon-access.ts'
import type { AgentState } from '../../src/core/agent/agent-state.ts'
import type { StateChange } from '../../src/core/agent/attempt.ts'
import { CcmError } from '../../src/core/errors.ts'
import type { HookPayload } from '../../src/core/agent/hook-event.ts'
import { columnsOf, type RecordedEvent } from '../../src/core/record/hook-kind.ts'
import { LOCAL } from '../../src/core/principal.ts'
import { PLAIN_TASK, type Task } from '../../src/core/task/task.ts'
import { createApp } from '../http/checked-app.ts'
import type { AppDeps, Notice, TaskRequest, TaskView } from '../../src/http/deps.ts'
import { listen } from '../../src/http/listen.ts'
import type { PendingQuestion } from '../../src/protocol/answer.ts'
import { createFakeProjects } from '../http/fake-projects.ts'
import { createFakeInbox, fakeTemplates, fakeWebhooks } from '../http/fake-inbox.ts'
import { createFakeSchedules } from '../http/fake-schedules.ts'
import { createIdempotencyInMemory, createKeysInMemory, listedOf } from '../http/fake-daemon.ts'

const TOKEN = 'token-of-the-test'

type Agent = TaskView['agent']

/**
 * A daemon of arrays behind the real routes on a real socket, with the home folder that leads to it.
 *
 * Deviations from the daemon: nothing works on a task, the test itself moves it with `move` and `hook`;
 * directories are not looked at; any directory but `/trusted` is untrusted unless the request trusts it; an
 * answer to an agent is noted in `calls` and always taken, unless the agent does not wait; ids are `t1`, `t2`.
 */
export async function serveDaemon(
  options: { onInsert?: (daemon: FakeDaemon, id: string) => void; refusals?: number } = {},
) {
  const home = temporaryFolder()
  const tasks = new Map<string, TaskView>()
  const events: RecordedEvent[] = []
  const changes: StateChange[] = []
  const listeners = new Set<(notice: Notice) => void>()
  const calls: unknown[][] = []
  const requests: TaskRequest[] = []
  const projects = createFakeProjects((...call) => void calls.push(call))
  const tell = (notice: Notice) => listeners.forEach((listener) => listener(notice))
  let port = 0
  let refusals = options.refusals ?? 0

  const daemon = {
    home,
    calls,
    requests,
    listeners,
    /** Changes a task and its agent, and tells whoever follows. */
    move(id: string, task: Partial<Task>, agent: Partial<Agent> = {}) {
      const before = tasks.get(id) ?? newView(id)
      tasks.set(id, { task: { ...before.task, ...task }, agent: { ...before.agent, ...agent } })
      tell({ kind: 'task', taskId: id })
    },
    /** The agent works, waits, … on a running task. */
    agent(id: string, state: AgentState, reason: string, waitingFor: PendingQuestion | null = null) {
      daemon.move(id, { status: 'running', attempt: 1 }, { state, reason, waitingFor, window: 'agent-app-1' })
    },
    hook(taskId: string, hookEventName: string, payload: HookPayload = {}) {
      const id = events.length + 1
      const columns = columnsOf({ hook_event_name: hookEventName, ...payload }, id, null)
      const event = { id, taskId, attempt: 1, claudeSessionId: null, hookEventName, at: id, payload }
      events.push({ ...event, ...columns, size: 2, truncated: false, sha256: null, suspect: null })
      tell({ kind: 'hook', taskId })
    },
    change(taskId: string, change: Partial<StateChange>) {
      const id = changes.length + 1
      changes.push({
        id,
        taskId,
        attempt: 1,
        at: id,
        from: 'unknown',
        to: 'working',
        cue: 'cue',
        reason: 'why',
        source: 'hook',
        evidence: '',
        ...change,
      })
    },
  }

  const answer =
    (name: string) =>
    async (id: string, ...details: (string | null)[]) => {
      calls.push([name, id, ...details.filter((detail) => detail !== null)])
      if (tasks.get(id)?.agent.waitingFor == null) return 'not_waiting' as const
      if (refusals-- > 0) return { refused: 'Its dialog cannot be answered from here.' }
      daemon.agent(id, 'working', 'answered')
      return 'done' as const
    }
  const deps: AppDeps = {
    authenticate: async (given) => (given === TOKEN ? LOCAL : 'refused'),
    names: { port: () => port, public: [] },
    rate: 1000,
    clock: Date.now,
    logger: pino({ level: 'silent' }),
    heartbeatMs: 50,
    audit: () => undefined,
    audits: async () => [],
    scrape: async () => ({ type: 'text/plain', text: '' }),
    tasks: {
      async insert(request) {
        const id = `t${tasks.size + 1}`
        requests.push(request)
        const alive = [...tasks.values()].find(
          ({ task }) => task.dedupeKey !== null && task.dedupeKey === request.dedupeKey,
        )
        if (alive !== undefined) return { view: alive, inserted: false, notices: [] }
        if (request.dir === '/missing')
          throw new CcmError('DIR_UNUSABLE', 'The directory /missing does not exist.')
        const trusted = request.trust || request.dir === '/trusted'
        const { prompt, model, priority, dedupeKey } = request
        daemon.move(
          id,
          {
            prompt,
            model,
            priority: priority ?? 0,
            dedupeKey,
            ...(request.scheduledAt !== null && { createdAt: Date.now() }),
          },
          { dir: request.dir, reason: trusted ? null : 'trust: the directory is not trusted' },
        )
        if (trusted) setTimeout(() => options.onInsert?.(daemon, id), 20)
        return { view: tasks.get(id) ?? newView(id), inserted: true, notices: [] }
      },
      get: async (id) => tasks.get(id) ?? null,
      row: async (id) => tasks.get(id)?.task ?? null,
      viewOf: async (task) => tasks.get(task.id) ?? { ...newView(task.id), task },
      idsByPrefix: async (prefix, projects) =>
        [...tasks.values()]
          .filter(({ task }) => task.id.startsWith(prefix) && (projects?.includes(task.project) ?? true))
          .map(({ task }) => task.id)
          .slice(0, 2),
      list: async (query) => listedOf([...tasks.values()], query),
      countsOf: async () => ({ queued: 0, running: 0, byWorker: new Map() }),
      async cancel(id, reason) {
        calls.push(['cancel', id, reason])
        if (tasks.get(id)?.task.status === 'succeeded') return 'already_final'
        daemon.move(id, { status: 'cancelled', error: reason })
        return 'cancelled'
      },
      async retry(id) {
        calls.push(['retry', id])
        const status = tasks.get(id)?.task.status
        if (status === 'running' || status === 'succeeded') return status
        daemon.move(id, { status: 'queued', error: null })
        return 'queued'
      },
      approve: answer('approve'),
      deny: answer('deny'),
      send: answer('send'),
      cancelWaits: () => false,
      screen: async () => null,
    },
    inbox: createFakeInbox(),
    templates: fakeTemplates(),
    webhooks: fakeWebhooks(),
    keys: createKeysInMemory(),
    idempotency: createIdempotencyInMemory(),
    worker: 'local',
    rightsOf: () => ({ permissionMode: 'acceptEdits', allowedTools: ['Bash(npm test:*)'] }),
    agents: async () => [...tasks.values()].filter(({ task }) => task.status === 'running'),
    workers: async () => [
      { ...WORKER, id: 'local' },
      { ...WORKER, id: 'other', draining: true },
      { ...WORKER, id: 'gone', silentMs: 3_600_000 },
    ],
    systems: async () => [{ id: 'local', queued: 0, running: 0 }],
    usage: async () => [],
    incidents: async ({ open }) => [INCIDENT].filter(({ closedAt }) => !open || closedAt === null),
    work: {
      diff: async (id) => Promise.reject(new CcmError('CONFLICT', `Task ${id} worked in place.`)),
      apply: async (id) => Promise.reject(new CcmError('CONFLICT', `Task ${id} worked in place.`)),
      discard: async (id) => Promise.reject(new CcmError('CONFLICT', `Task ${id} worked in place.`)),
    },
    events: async ({ taskId, after, limit, kind, tool, since, until }) =>
      events
        .filter((row) => row.id > after && (taskId === null || row.taskId === taskId))
        .filter((row) => kind === undefined || row.kind === kind || row.phase === kind)
        .filter((row) => tool === undefined || row.tool === tool)
        .filter((row) => (since === undefined || row.at >= since) && (until === undefined || row.at < until))
        .slice(0, limit),
    changes: async ({ taskId, after, limit }) =>
      changes.filter((row) => row.id > after && (taskId === null || row.taskId === taskId)).slice(0, limit),
    lastIds: async () => ({ hookEventId: events.length, stateChangeId: changes.length }),
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    record: {
      timeline: async () => ({
        tools: [],
        files: [],
        fileCount: 0,
        longest: [],
        waits: [],
        waitedMs: 0,
        lostEvents: 0,
      }),
      search: async (filter) => {
        calls.push(['search', filter])
        return []
      },
    },
    rules: { of: async () => [], change: async () => undefined },
    schedules: createFakeSchedules(newView, (...call) => void calls.push(call)),
    projects: {
      ...projects,
      async trust(name) {
        for (const [id, { task }] of tasks) {
          if (task.project !== name) continue
          daemon.move(id, {}, { reason: null })
          setTimeout(() => options.onInsert?.(daemon, id), 20)
        }
        return projects.trust(name)
      },
    },
    status: async () => ({
      pid: process.pid,
      port,
      home,
      version: '0.1.0',
      uptime_s: 90,
      agents: 1,
      max_concurrent: 10,
      queued: 2,
      running: 1,
      holds: ['memory: less than 1 GiB would remain'],
      tmux: 'ok',
      worker: 'local',
      tmux_socket: `${home}/tmux/socket`,
      claude: { path: '/bin/claude', version: '2.1.328' },
      kept_by: null,
      shared: null,
      events: { unknown: { Tomorrow: 3, Later: 2 }, unknown_others: 17, unreadable: 4, lost: 1 },
      found_at_start: [],
    }),
    health: async () => ({ status: 'ok', database: 'ok' }),
    isSecretOf: () => false,
    askPermission: async () => ({}),
    shutdown: (agents) => void calls.push(['shutdown', agents]),
  }
  const server = await listen(createApp(deps), { host: '127.0.0.1', port: 0 })
  port = server.port
  onTestFinished(() => server.close(0))
  writeFileSync(join(home, 'token'), `${TOKEN}\n`)
  writeFileSync(
    join(home, 'daemon.json'),
    JSON.stringify({ pid: process.pid, host: '127.0.0.1', port, version: '0.1.0', startedAt: 0 }),
  )
  return daemon
}
export type FakeDaemon = Awaited<ReturnType<typeof serveDaemon>>

const CONFIG: ConfigView = {
  home: '',
  file: null,
  http: { host: '127.0.0.1', port: 0 },
  claude: { command: null, env: {} },
  log: { file: null },
  origins: {},
  values: {},
}

/** What one command line printed and answered. */
export type Ended = { code: number; stdout: string; stderr: string }

/** A `ccm` that runs in this process and talks to the daemon of `home`. */
export function createCommandLine(
  home: string,
  given: {
    terminal?: boolean
    cwd?: string
    piped?: string
    config?: Partial<ConfigView>
    env?: Record<string, string>
  } = {},
) {
  const printed = { stdout: '', stderr: '' }
  const interrupts = new Set<() => void>()
  const stdin = Object.assign(new PassThrough(), { isTTY: given.terminal === true, setRawMode: () => {} })
  if (given.piped !== undefined) stdin.end(given.piped)
  const stream = (name: 'stdout' | 'stderr') =>
    Object.assign(
      new PassThrough().on('data', (chunk: Buffer) => void (printed[name] += chunk.toString())),
      {
        isTTY: given.terminal === true,
        columns: 100,
      },
    )
  const context: CliContext = {
    env: { TERM: 'xterm', ...given.env },
    cwd: given.cwd ?? '/trusted',
    stdin,
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    launcher: ['false'],
    config: async () => ({ ...CONFIG, home, ...given.config }),
    supabase: async () => null,
    findClaude: async () => ({ path: '/bin/claude', version: '2.1.328' }),
    claudeCommand: async () => null,
    ...createDaemonAccess(
      async () => home,
      async () => ({ home, configFile: null, launcher: ['false'], env: given.env ?? {} }),
      {
        autostart: false,
      },
    ),
    keeper: async () => null,
    runDaemon: async () => 0,
    hostTmux: async () => 0,
    homeOf: async () => ({ home: '/home/ccm', configFile: null }),
    onInterrupt(listener) {
      interrupts.add(listener)
      return () => interrupts.delete(listener)
    },
  }
  return {
    printed,
    type: (text: string) => void stdin.write(text),
    interrupt: () => interrupts.forEach((listener) => listener()),
    /** Waits until this text was printed. */
    async sees(text: string): Promise<void> {
      const until = Date.now() + 15_000
      while (!`${printed.stdout}${printed.stderr}`.includes(text)) {
        if (Date.now() > until)
          throw new Error(`${text} was not printed, but:\n${printed.stdout}${printed.stderr}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
    async ccm(...argv: string[]): Promise<Ended> {
      const code = await runCommandLine(argv, context)
      await new Promise((resolve) => setImmediate(resolve))
      return { code, ...printed }
    },
  }
}

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-cli-'))
  // A shell or a server that is just ending may write one more file while its folder goes.
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }))
  return folder
}

function newView(id: string): TaskView {
  return {
    task: {
      id,
      project: 'app',
      prompt: 'Do it.',
      ...PLAIN_TASK,
      source: 'cli',
      resumeWorker: null,
      resumeUntil: null,
      claudeSessionId: null,
      status: 'queued',
      attempt: 0,
      worker: null,
      failures: 0,
      lostLeases: 0,
      scheduledAt: 0,
      cancelRequested: false,
      leaseExpiresAt: null,
      result: null,
      error: null,
      createdAt: 0,
      startedAt: null,
      finishedAt: null,
    },
    agent: {
      state: null,
      reason: null,
      dir: null,
      window: null,
      claudeSessionId: null,
      waitingFor: null,
      tokens: null,
      workspace: null,
    },
  }
}

const INCIDENT = {
  id: 7,
  kind: 'breaker' as const,
  key: 'breaker:fleet',
  what: 'Nothing is begun.\u001b[2J',
  evidence: 'exit 3',
  action: 'One at a time is tried.',
  alert: true,
  taskId: null,
  attempt: null,
  openedAt: 0,
  closedAt: 65_000,
  notices: [{ notifier: 'webhook', phase: 'opened', state: 'given_up', tries: 20, error: 'HTTP 500' }],
}

const WORKER = {
  host: 'h',
  version: '0.1.0',
  capacity: 10,
  running: 0,
  roles: null,
  labels: [],
  projects: { app: '/app' },
  draining: false,
  // The queue's clock is a day behind this machine's.
  seenAt: Date.now() - 86_400_000,
  silentMs: 0,
}
