import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Answers, Pending } from '../agent/answers.ts'
import type { LiveTokens } from '../agent/live-usage.ts'
import { type Claude, findClaude } from '../agent/claude.ts'
import { occupiesSlot } from '../agent/watcher.ts'
import type { Clock } from '../core/clock.ts'
import { isFinal, type NewTask, type Task } from '../core/task.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import { familyOfModel } from '../core/limit.ts'
import { createMeters, type Meters } from '../core/meters.ts'
import type { ProjectSettings } from '../core/project.ts'
import type { CancelReply, Lease, Queue, Report, RetryReply } from '../core/queue.ts'
import type { WorkspaceJson } from '../core/workspace.ts'
import type { Worktrees } from '../store/worktrees.ts'
import type { Redactor } from '../core/redact.ts'
import type { Attempts } from '../store/attempts.ts'
import type { HookEvents } from '../store/hook-events.ts'
import type { Incidents } from '../store/incidents.ts'
import type { Notes } from '../store/notes.ts'
import type { Outbox } from '../store/outbox.ts'
import type { PermissionRules } from '../store/permission-rules.ts'
import type { Project, Projects } from '../store/projects.ts'
import type { TmuxServer } from '../tmux/server.ts'
import { adoptAll, adoptProvisionally } from './adopt.ts'
import type { Budgets } from './budgets.ts'
import type { Fence } from './fence.ts'
import { createClaimFilter } from './claim-filter.ts'
import type { StartPulse } from './beats.ts'
import { createDelivery } from './deliver.ts'
import { cancelledWith } from './dependents.ts'
import { createDispatcher, type Hold } from './dispatcher.ts'
import { fleetFacts } from './fleet-facts.ts'
import { createIngest } from './ingest.ts'
import { projectOf } from './intake.ts'
import { createProjectDesk } from './project-desk.ts'
import { createRetention, type Retention } from './retention.ts'
import { createJoin } from './join.ts'
import { createLeaseKeeper, endedBy } from './leases.ts'
import { resumeAgain } from './resume.ts'
import type { Recorder } from './recorder.ts'
import { createRecovery, type RecoverySettings } from './recovery.ts'
import { createRuling } from './ruling.ts'
import { createRunner, spoolOf, type RunningAgent } from './runner.ts'
import type { Settings } from './settings.ts'
import { isAway } from './shared-queue.ts'
import { createScreenSweep } from './sweep.ts'
import { whyNotTaken, whyQueued } from './why-queued.ts'
import { type BringHome, createBringHome } from './bring-home.ts'
import { createPassedOver } from './passed-over.ts'
import { createPlaces } from './places.ts'
import { createWorkspaceSweep } from './workspace-sweep.ts'
import { createWorkspaces } from './workspaces.ts'

/** Something of this task was stored. */
export type Notice = { kind: 'hook' | 'state' | 'task'; taskId: string }

/** What is known of a task's newest agent. */
export type AgentFacts = {
  state: Attemptlike['state'] | null
  reason: string | null
  dir: string | null
  window: string | null
  claudeSessionId: string | null
  waitingFor: Pending | null
  tokens: LiveTokens | null
  workspace: WorkspaceJson | null
}
type Attemptlike = RunningAgent['attempt']

/** What became of an answer to a waiting agent. */
export type AnswerReply = 'done' | 'not_waiting' | 'unknown' | { refused: string }

/** The fleet of one machine: claims tasks, runs and watches their agents, reports what came of them. */
export type Supervisor = {
  /** Takes back what an earlier daemon left, then claims. Resolves when agents can be started. */
  begin: () => Promise<void>
  insert: (
    request: Omit<NewTask, 'project' | 'priority'> & {
      dir: string | null
      project: string | null
      trust: boolean
      /** null: the project's. */
      priority: number | null
    },
  ) => Promise<{ task: Task; inserted: boolean; held: boolean; notices: string[] }>
  cancel: (id: string, reason: string) => Promise<CancelReply>
  retry: (id: string) => Promise<RetryReply>
  /** `decision`: what it comes to for a permission request, for the record; null for a text. */
  answer: (
    id: string,
    how: (answers: Answers) => Promise<AnswerReply>,
    decision: 'granted' | 'denied' | null,
  ) => Promise<AnswerReply>
  /** A permission request of an attempt; {} leaves it to the dialog. */
  hold: (
    taskId: string,
    attempt: number,
    payload: Record<string, unknown>,
    signal: AbortSignal,
  ) => Promise<Record<string, unknown>>
  /** The task's newest agent, or why it has none. */
  factsOf: (task: Task) => Promise<AgentFacts>
  screen: (id: string) => Promise<string | null>
  /** What a person does with the work of a task. */
  work: BringHome
  trustProject: (name: string) => Project | null
  updateProject: (name: string, changes: Partial<ProjectSettings>) => Promise<Project | null>
  /** Throws CONFLICT while tasks of it are alive. */
  removeProject: (name: string) => Promise<Project | null>
  /** The project of a directory, registered where it is new; without one the project of that name. */
  addProject: (dir: string | null, name: string | null, trust: boolean) => Project
  agents: () => RunningAgent[]
  holds: () => Hold[]
  /** Where what goes wrong is written down. */
  recorder: Recorder
  /** Claims nothing until it is lifted. */
  pause: (hold: Hold) => void
  lift: (kind: string) => void
  /** Looks for work soon. */
  wake: () => void
  /** Tells whoever listens that a task was changed by others. */
  changed: (taskId: string) => void
  /** A cancel of this task may have been asked for elsewhere. */
  hintCancel: (taskId: string) => void
  claude: () => Promise<Claude>
  foundAtStart: () => string[]
  subscribe: (listener: (notice: Notice) => void) => () => void
  /** No more claims; agents live on for the next daemon, or are ended and their tasks queued again. */
  close: (agents: 'keep' | 'end') => Promise<void>
}

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

export type SharedDeps = {
  /** Makes this process the worker, unless it is already. */
  register: () => Promise<void>
  /** The projects of this machine have changed. */
  describe: () => Promise<void>
  /** The task as it was claimed; null: not by this home. */
  claimed: (lease: Lease) => Task | null
  /** It was accepted here, and the queue does not have it yet. */
  waitsHere: (taskId: string) => boolean
  fence: Fence
}

const HELD = 'Supabase does not answer. The task is kept on this machine and handed over when it does.'
/** An agent has most of its memory long before that. */
const MEMORY_SETTLES_MS = 30_000

export function createSupervisor(deps: SupervisorDeps): Supervisor {
  const { settings, queue, attempts, hookEvents, projects, budgets, tmux, clock, logger } = deps
  const watched = deps.pulse === undefined ? {} : { pulse: deps.pulse }
  // A call to a queue that is far may take longer than any loop of ours.
  const near = deps.shared === undefined ? watched : {}
  const meters = deps.meters ?? createMeters()
  const listeners = new Set<(notice: Notice) => void>()
  const found: string[] = []
  let retention: Retention | null = null
  let known: { claude: Claude; print: string } | null = null

  const notify = (taskId: string, kind: Notice['kind']) => {
    for (const listener of listeners) listener({ kind, taskId })
    if (kind === 'state') sweep.hurry()
  }

  /** A task was moved by the queue, and may have taken others with it. */
  const notifyEnd = (taskId: string) => {
    notify(taskId, 'task')
    cancelledWith(queue, taskId).then(
      (ids) => ids.forEach((id) => notify(id, 'task')),
      (err: unknown) => logger.warn({ err, taskId }, 'tasks that depend on it could not be looked up'),
    )
  }

  const claude = async (): Promise<Claude> => {
    // Asked for its version once; after an update its file is another.
    if (known !== null && printOf(known.claude.path) === known.print) return known.claude
    const path = settings.claude.env['PATH'] ?? settings.inherited['PATH'] ?? ''
    const claude = await findClaude({ command: settings.claude.command ?? '', path })
    known = { claude, print: printOf(claude.path) }
    return known.claude
  }

  const desk = createProjectDesk({ queue, projects })
  const places = createPlaces()
  const workspaces = createWorkspaces({
    home: settings.home,
    worktrees: deps.worktrees,
    places,
    clock,
    logger,
  })

  const ingest = createIngest({
    ...watched,
    hookEvents,
    redactor: deps.redactor,
    clock,
    logger,
    took: (ms, events) => {
      meters.ingest.observe({}, ms / 1000)
      meters.hookEvents.add({}, events)
    },
    onEvents: (lease, events) => {
      runner.onEvents(lease, events)
      notify(lease.taskId, 'hook')
    },
  })
  const ruling = createRuling({
    rulesOf: (project) => deps.rules.of(project),
    hookEvents,
    readSpool: ({ attempt }) => ingest.read(spoolOf(attempt)),
    onEvents: ({ attempt }, events) => {
      runner.onEvents(attempt, events)
      notify(attempt.taskId, 'hook')
    },
    redactor: deps.redactor,
    userHome: settings.userHome,
    clock,
    logger,
  })
  const runner = createRunner({
    rules: deps.rules,
    settings,
    tmux,
    attempts,
    hookEvents,
    projects,
    ingest: () => ingest,
    redactor: deps.redactor,
    findClaude: claude,
    workspaces,
    clock,
    logger,
    notify: (taskId, kind) => {
      notify(taskId, kind)
      // A waiting agent has freed its slot, or one that goes on has taken it again.
      dispatcher.nudge()
    },
    spend,
    park: deps.recovery.park,
    started: (task) => recovery.over(task.id, 'Its next attempt was started.'),
    working: (tookMs) => meters.start.observe({}, tookMs / 1000),
    settled: (task, attempt, end) => {
      meters.attemptsEnded.add({ project: task.project, outcome: end.outcome })
      recovery.ended({ ...task, model: modelOf(task) }, attempt, end)
      delivery.nudge()
    },
  })
  const delivery = createDelivery({
    ...near,
    outbox: deps.outbox,
    queue,
    clock,
    logger,
    onDelivered: (taskId) => {
      notifyEnd(taskId)
      dispatcher.nudge()
      trees.nudge()
    },
  })
  const trees = createWorkspaceSweep({
    workspaces,
    queue,
    isRunning: (taskId) => runner.agents.has(taskId),
    onClosed: (taskId) => notify(taskId, 'task'),
    everyMs: settings.sweepMs,
    logger,
  })
  const recovery = createRecovery({
    settings: deps.recovery,
    incidents: deps.incidents,
    notes: deps.notes,
    facts: () => fleetFacts({ queue, attempts, agents: runner.agents, clock }, deps.recovery.alerts.windowMs),
    isRunning: (id) => runner.agents.has(id),
    clock,
    random: Math.random,
    logger,
  })
  const takes = { ...settings.takes, elsewhere: deps.shared !== undefined }
  const passedOver = createPassedOver({
    queue,
    projects,
    isShared: deps.shared !== undefined,
    worksInPlace: workspaces.worksInPlace,
    holderOf: places.holderOf,
    isLimited: () => recovery.limits.holds().length > 0,
    limitedUntil: (task) => recovery.limits.until(modelOf(task)),
  })
  const dispatcher = createDispatcher({
    ...near,
    queue,
    renew: () => leases.renew(),
    filter: createClaimFilter({ queue, projects, spent, passedOver, takes: settings.takes }),
    gate: recovery.gate,
    claimed: (task) => {
      meters.claims.add({ project: task.project })
      // Of later attempts nobody knows since when they waited.
      if (task.attempt === 1)
        meters.wait.observe({}, Math.max(0, clock() - Math.max(task.createdAt, task.scheduledAt)) / 1000)
      recovery.breakers.claimed(task)
    },
    occupied: () =>
      [...runner.agents.values()].filter(({ watcher }) => occupiesSlot(watcher?.view().state ?? 'spawning'))
        .length,
    isShared: deps.shared !== undefined,
    starting: () =>
      [...runner.agents.values()].filter(({ startedAt }) => clock() - startedAt < MEMORY_SETTLES_MS).length,
    maxConcurrent: () => settings.maxConcurrent,
    minFreeMemoryMb: () => settings.minFreeMemoryMb,
    ready: async () => {
      await ensureTmux()
      await claude()
    },
    onReaped: notifyEnd,
    start: begin,
    sweepMs: settings.sweepMs,
    clock,
    logger,
  })
  const sweep = createScreenSweep({
    ...watched,
    tmux,
    agents: runner.agents,
    look: settings.look,
    clock,
    logger,
    took: (ms) => meters.sweep.observe({}, ms / 1000),
    onOrphans: (count) => recovery.orphans(count),
    onTick: () => {
      ingest.rescan()
      for (const agent of runner.agents.values()) void spend(agent)
    },
  })
  // The control client ends with its server: the next look need not wait for its turn.
  tmux.onLost(() => sweep.hurry())
  const leases = createLeaseKeeper({
    ...near,
    queue,
    runner,
    everyMs: settings.heartbeatMs,
    lost: () => meters.leasesLost.add({}),
    fence: deps.shared?.fence,
    logger,
  })
  /** Found before the queue was joined. */
  const left: string[] = []
  const joining = createJoin({
    async join() {
      await deps.shared?.register()
      await desk.tellAll()
      note([
        ...left.splice(0),
        ...(await adoptAll({
          queue,
          attempts,
          runner,
          tmux,
          clock,
          logger,
          home: settings.home,
          stray: (what) =>
            recovery.recorder.note({ kind: 'stray_ended', what, action: 'Nothing is left of it.' }),
        })),
      ])
      await leases.renew()
      const closed = await trees.atStart()
      for (const sentence of closed) logger.info(sentence)
      found.push(...closed)
      delivery.nudge()
      dispatcher.lift('starting')
      retention ??= createRetention({ queue, keepMs: settings.keepMs, logger })
    },
    async meanwhile() {
      const { claimed } = deps.shared ?? {}
      const taken = claimed === undefined ? [] : await adoptProvisionally({ attempts, runner, tmux, claimed })
      note([...left.splice(0), 'Supabase does not answer: nothing is claimed until it does.', ...taken])
    },
    retryMs: settings.sweepMs,
    logger,
  })

  /** Where others ask for work on a project, they must find it. */
  function projectsChanged(): void {
    deps.shared?.describe().catch((err: unknown) => {
      if (!isAway(err)) logger.warn({ err }, 'the queue could not be told of the projects of this machine')
    })
  }

  function note(sentences: string[]): void {
    found.push(...sentences)
    for (const sentence of sentences) logger.info(sentence)
    recovery.adopted(sentences)
  }

  // A task that comes in meanwhile waits, until every agent of before is known.
  dispatcher.hold({ kind: 'starting', sentence: 'The daemon is starting.', until: null })

  /** Stores what an agent has used since the last time, and ends it where a budget is used up. Never rejects. */
  async function spend({ usage, task }: RunningAgent): Promise<void> {
    const messages = (await usage?.update()) ?? []
    if (messages.length === 0) return
    try {
      await budgets.record(task, messages)
      notify(task.id, 'task')
      const why = budgets.over(task)
      if (why !== null) runner.end(task.id, endedBy('budget', why))
    } catch (err) {
      logger.error({ err, taskId: task.id }, 'what an agent used could not be stored; it is tried again')
      usage?.again(messages)
    }
  }

  /** Begins a claimed task, unless its budget was used up by its attempts of before. */
  function begin(task: Task): void {
    const why = budgets.over(task)
    const limitedUntil = recovery.limits.until(modelOf(task))
    if (why !== null) giveBack(task, { outcome: 'failed_permanent', error: why })
    else if (limitedUntil !== null) {
      // The queue knows nothing of models, and this one came in after it was asked what to pass over.
      const error = `The usage limit of its model is reached until ${new Date(limitedUntil).toISOString()}.`
      const retryAfterMs = Math.max(0, limitedUntil - clock())
      giveBack(task, { outcome: 'released', error, retryAfterMs, resume: resumeAgain(task, retryAfterMs) })
    } else {
      runner.start(task).catch((err: unknown) => {
        logger.error({ err, taskId: task.id }, 'a claimed task could not be begun')
        giveBack(task, {
          outcome: 'released',
          error: `The attempt could not be recorded: ${messageOf(err)}`,
        })
      })
    }
  }

  function holderFor(task: Task): string | null {
    const project = projects.byName(task.project)
    if (project === null || !workspaces.worksInPlace(project, task)) return null
    return places.holderOf(project.dir, task.id)
  }

  // While no agent works nobody looks at tmux, so its end is noticed here.
  async function ensureTmux(): Promise<void> {
    await tmux.run([['display-message', '-p', '']], { readOnly: true }).catch(() => tmux.start())
  }

  // Nothing of its attempt exists. Should this fail too, its lease runs out.
  function giveBack(task: Task, end: Pick<Report, 'outcome' | 'error'> & Partial<Report>): void {
    queue
      .finish({
        taskId: task.id,
        attempt: task.attempt,
        result: null,
        retryAfterMs: null,
        resume: resumeAgain(task, 0),
        ...end,
      })
      .then(() => notify(task.id, 'task'))
      .catch((err: unknown) =>
        logger.error({ err, taskId: task.id }, 'a claimed task could not be given back'),
      )
  }

  /** Why no task of this project may start today, or null. */
  function spent(project: string): string | null {
    return budgets.dayOver() ?? budgets.projectOver(project)
  }

  const modelOf = (task: Task): string | null =>
    task.model ?? projects.byName(task.project)?.model ?? settings.claude.model
  const holds = (): Hold[] => [...dispatcher.holds(), ...recovery.holds()]

  return {
    async begin() {
      const spools = await ingest.leftovers(join(settings.home, 'attempts'), (lease) => {
        const attempt = attempts.get(lease)
        return attempt === null ? null : spoolOf(attempt)
      })
      if (spools > 0)
        left.push(`Events were left in ${spools} ${spools === 1 ? 'spool' : 'spools'}; they are stored now.`)
      await joining.begin()
    },
    async insert({ dir, project: name, trust, ...task }) {
      const known = projects.list().filter(({ trusted }) => trusted).length
      const project = projectOf(projects, clock, { dir, name, trust })
      if (projects.list().filter(({ trusted }) => trusted).length !== known) projectsChanged()
      const priority = task.priority ?? project.priority
      const added = await queue.insert({ ...task, priority, project: project.name })
      notify(added.task.id, 'task')
      dispatcher.nudge()
      const { held = false } = added
      if (held || !added.inserted) return { ...added, held, notices: held ? [HELD] : [] }
      const misfit = whyNotTaken(added.task, takes)
      const left = await workspaces.announce(project, task.inPlace)
      return { ...added, held, notices: misfit === null ? left : [misfit, ...left] }
    },
    async cancel(id, reason) {
      const reply = await queue.cancel(id, reason)
      if (reply === 'requested') runner.end(id, endedBy('cancelled', reason || 'Cancelled.'))
      notifyEnd(id)
      trees.nudge()
      return reply
    },
    async retry(id) {
      const reply = await queue.retry(id)
      notify(id, 'task')
      dispatcher.nudge()
      return reply
    },
    async answer(id, how, decision) {
      const agent = runner.agents.get(id)
      if (agent?.watcher) {
        const [ask] = agent.watcher.view().asks
        const reply = await how(agent.watcher.answers)
        if (reply === 'done' && ask !== undefined && decision !== null) ruling.note(agent, ask, decision)
        return reply
      }
      return (await queue.get(id)) === null ? 'unknown' : 'not_waiting'
    },
    async hold(taskId, attempt, payload, signal) {
      const agent = runner.agents.get(taskId)
      if (!agent?.watcher || agent.attempt.attempt !== attempt) return {}
      const { tool_name: tool, tool_input: input } = payload
      if (typeof tool !== 'string' || typeof input !== 'object' || input === null) return {}
      const ask = { tool, input: input as Record<string, unknown> }
      return (await ruling.answer(agent, ask)) ?? agent.watcher.answers.hold(ask, signal)
    },
    async factsOf(task) {
      const running = runner.agents.get(task.id)
      const attempt = attempts.newestOf(task.id)
      // Within one state only the watcher knows the newest reason: the tool that runs now, say.
      const view = running?.watcher?.view()
      const facts: AgentFacts = {
        state: attempt?.state ?? null,
        reason:
          (view !== undefined && view.state === attempt?.state ? deps.redactor.text(view.reason) : null) ??
          attempt?.stateReason ??
          null,
        dir: attempt?.dir ?? projects.byName(task.project)?.dir ?? null,
        window: running?.attempt.windowName ?? null,
        claudeSessionId: attempt?.claudeSessionId ?? null,
        waitingFor: running?.watcher?.answers.pending() ?? null,
        tokens: running?.usage?.tokens() ?? null,
        workspace: workspaces.view(task.id) ?? task.result?.workspace ?? null,
      }
      if (deps.shared?.waitsHere(task.id) === true) return { ...facts, reason: `queue: ${HELD}` }
      if (task.status === 'queued')
        return {
          ...facts,
          reason:
            (await whyQueued(task, {
              queue,
              projects,
              worker: settings.worker,
              takes,
              spent,
              holds: () => holds().filter((hold) => concerns(hold, task.project, modelOf(task))),
              holder: () => holderFor(task),
              lastReason: () => attempt?.stateReason ?? null,
              clock,
            })) ?? (attempt === null ? null : facts.reason),
        }
      return isFinal(task.status) ? { ...facts, waitingFor: null } : facts
    },
    async screen(id) {
      const live = runner.agents.get(id)?.watcher?.screen()
      if (live !== undefined && live !== '') return live
      const attempt = attempts.newestOf(id)
      if (attempt === null) return null
      return readFile(join(attempt.folder, 'screen.txt'), 'utf8').catch(() => null)
    },
    trustProject(name) {
      if (!projects.setTrusted(name, true)) return null
      projectsChanged()
      dispatcher.nudge()
      return projects.byName(name)
    },
    async updateProject(name, changes) {
      const project = await desk.update(name, changes)
      dispatcher.nudge()
      return project
    },
    async removeProject(name) {
      const project = await desk.remove(name)
      projectsChanged()
      return project
    },
    addProject(dir, name, trust) {
      const project = projectOf(projects, clock, { dir, name, trust })
      projectsChanged()
      dispatcher.nudge()
      return project
    },
    work: createBringHome({
      worktrees: deps.worktrees,
      workspaces,
      queue,
      dirOf: (task) => attempts.newestOf(task.id)?.dir ?? null,
      changed: (taskId) => notify(taskId, 'task'),
    }),
    agents: () => [...runner.agents.values()],
    holds: () => {
      const spent = budgets.dayOver()
      return spent === null
        ? holds()
        : [...holds(), { kind: 'budget', sentence: spent, until: budgets.dayEndsAt() }]
    },
    claude,
    foundAtStart: () => found,
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    recorder: recovery.recorder,
    pause: (hold) => dispatcher.hold(hold),
    lift: (kind) => dispatcher.lift(kind),
    wake: () => dispatcher.nudge(),
    changed: (taskId) => notify(taskId, 'task'),
    hintCancel(taskId) {
      if (runner.agents.has(taskId)) leases.renew().catch(() => undefined)
    },
    async close(mode) {
      await joining.close()
      await dispatcher.close()
      if (mode === 'end') {
        const ends = [...runner.agents.keys()]
        for (const id of ends) runner.end(id, endedBy('drain', 'ccm was stopped; the task is queued again.'))
        const until = clock() + 2 * settings.exitMs + 5000
        while (runner.agents.size > 0 && clock() < until)
          await new Promise((resolve) => setTimeout(resolve, 50))
        if (runner.agents.size > 0)
          throw new CcmError('INTERNAL', `${runner.agents.size} agents did not end in time.`)
      }
      await retention?.close()
      leases.close()
      await trees.close()
      await sweep.close()
      await recovery.close(mode === 'end')
      await ingest.close()
      await delivery.close()
    },
  }
}

/** A hold of one project or family of models is a reason only for tasks of theirs. */
function concerns({ project, model }: Hold, ofProject: string, ofModel: string | null): boolean {
  if (project !== undefined && project !== ofProject) return false
  return model === undefined || ofModel === null || familyOfModel(ofModel) === model
}

function printOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined ? 'gone' : `${found.ino} ${found.mtimeMs} ${found.size}`
}
