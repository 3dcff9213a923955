import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { placeOf } from '../../agent/place.ts'
import { deniedBy, type Decides } from '../../agent/answers.ts'
import type { AskReply } from '../../agent/held-ask.ts'
import { isAllThere, isSameAsk, waitKindOf, type Ask } from '../../core/agent/ask.ts'
import type { Clock } from '../../core/clock.ts'
import { PERMISSION_DECIDED, type HookEvent } from '../../core/agent/hook-event.ts'
import type { WindowAnswer } from '../../core/permission/permission-request.ts'
import { judge, pathOf, type PermissionRule, type Verdict } from '../../core/permission/permission-rule.ts'
import { isRestricted } from '../../core/task/restricted.ts'
import type { Redactor } from '../../core/redact.ts'
import type { HookEvents } from '../../store/hook-events.ts'
import type { RunningAgent } from './running-agent.ts'
import { toNewEvent } from '../ingest/spool-event.ts'

/** What a request's own record is waited for, so that the chain of states tells both in their order: 100 ms, measured. */
const RECORD_WITHIN_MS = 500

/** Answers the permission requests of an agent by the rules of its project. */
export type Ruling = {
  /** The answer of the rules, stored as an event before it is given; null leaves the request to a person. */
  answer: (agent: RunningAgent, ask: Ask) => Promise<AskReply | null>
  /**
   * What Claude Code is told before a tool runs that rules forbid something of: to ask, where they do or where it cannot be
   * told; {} leaves it to what Claude Code itself thinks of it. Where its mode does not ask, it asks by itself only for what
   * it takes for the rule's command: `/bin/rm` for `rm`, but not `git -C . push` for `git push` (2.1.328).
   */
  look: (agent: RunningAgent | null, ask: Ask) => LookReply
  /**
   * Lets `answer` answer a request for a person, and tell which one, and stores the decision once it answered `done`; what
   * cannot be stored is logged only, for it has happened.
   */
  through: <T>(
    agent: RunningAgent,
    decision: 'granted' | 'denied',
    answer: (decides: Decides) => Promise<T>,
  ) => Promise<T>
  /**
   * Answers a request that nobody heard of as it was made, after a restart, by the rules as they are now; to be called again
   * and again. Never rejects.
   */
  unheld: (agent: RunningAgent) => Promise<void>
  /** Stores what came of a request that nobody answered through ccm. Throws what keeps it from being stored. */
  inWindow: (agent: RunningAgent, answer: WindowAnswer) => void
}

/** Claude Code's answer format for a PreToolUse hook. */
export type LookReply =
  | Record<string, never>
  | {
      hookSpecificOutput: {
        hookEventName: 'PreToolUse'
        permissionDecision: 'ask'
        permissionDecisionReason: string
      }
    }

export function createRuling(options: {
  rulesOf: (project: string) => PermissionRule[]
  hookEvents: HookEvents
  /** Brings every event in the agent's spool to its watcher. */
  readSpool: (agent: RunningAgent) => Promise<void>
  onEvents: (agent: RunningAgent, events: HookEvent[]) => void
  redactor: Redactor
  userHome: string
  clock: Clock
  logger: Logger
}): Ruling {
  const { hookEvents, logger } = options
  /** Requests that ccm answers at this moment, by keys perhaps: what comes of it is no answer of the window's. */
  const answering = new Map<string, Record<string, string>>()
  /** Requests of which no rule decides, or one did. */
  const judged = new WeakSet<Ask>()

  function verdictOf(agent: RunningAgent, ask: Ask): Verdict | null {
    const all = options.rulesOf(agent.task.project)
    // What the project allows is not meant for a text from outside; what it denies still is.
    const rules = isRestricted(agent.task) ? all.filter(({ effect }) => effect !== 'allow') : all
    if (rules.length === 0) return null
    const path = pathOf(ask)
    const place = path === null ? null : placeOf(path, agent.attempt.dir, options.userHome)
    const verdict = judge(rules, ask, place)
    // What leads nobody knows where is for a person.
    return path !== null && place === null && verdict?.effect === 'allow' ? null : verdict
  }

  async function recordComes(agent: RunningAgent, ask: Ask): Promise<void> {
    const until = performance.now() + RECORD_WITHIN_MS
    const isThere = () => agent.watcher?.view().asks.some((other) => isSameAsk(other, ask)) === true
    while (!isThere() && performance.now() < until) {
      await options.readSpool(agent)
      await sleep(5)
    }
  }

  /** A request has one decision: its row bears the request's id, so a second one changes nothing. */
  function store(
    agent: RunningAgent,
    ask: Ask,
    request: number | null,
    decided: Record<string, string>,
  ): void {
    const { taskId, attempt, claudeSessionId } = agent.attempt
    const payload = {
      hook_event_name: PERMISSION_DECIDED,
      session_id: claudeSessionId,
      tool_name: ask.tool,
      tool_input: ask.input,
      ...decided,
      ...(request === null ? {} : { request }),
    }
    const name = request === null || decided['decision'] === 'ask' ? randomUUID() : String(request)
    const text = JSON.stringify(payload)
    const now = options.clock()
    // As an event of the agent's own is: redacted and bounded.
    const event = toNewEvent(
      { taskId, attempt },
      { name: `${PERMISSION_DECIDED}-${name}`, at: now },
      { text, size: Buffer.byteLength(text), sha256: null },
      { redactor: options.redactor, now, suspect: () => null },
    )
    const events = hookEvents.insertBatch([event])
    if (events.length > 0) options.onEvents(agent, events)
  }

  function note(agent: RunningAgent, ask: Ask, request: number | null, decision: 'granted' | 'denied'): void {
    try {
      store(agent, ask, request, { decision, by: 'ccm' })
    } catch (err) {
      logger.error({ err, taskId: agent.task.id }, 'a decision could not be recorded')
    }
  }

  const requestOf = (agent: RunningAgent, ask: Ask) => agent.watcher?.requestOf(ask) ?? null

  return {
    async answer(agent, ask) {
      const { taskId, attempt } = agent.attempt
      try {
        const verdict = verdictOf(agent, ask)
        if (verdict === null) return null
        await recordComes(agent, ask)
        const decision = { allow: 'granted', deny: 'denied', ask: 'ask' }[verdict.effect]
        store(agent, ask, requestOf(agent, ask), { decision, by: 'rule', rule: verdict.rules.join(', ') })
        logger.info(
          { taskId, attempt, code: verdict.effect, rule: verdict.rules.join(', ') },
          'a rule decided',
        )
        return verdict.effect === 'ask' ? null : toReply(verdict, ask)
      } catch (err) {
        // What cannot be recorded is not decided by a rule either: a person is still there.
        logger.error({ err, taskId, attempt }, 'the rules of a project could not be used')
        return null
      }
    },
    look(agent, ask) {
      try {
        if (agent === null) return toLook('ccm does not know this agent.')
        const verdict = verdictOf(agent, ask)
        return verdict === null || verdict.effect === 'allow'
          ? {}
          : toLook(`A rule of this project is about it: ${verdict.rules.join(', ')}`)
      } catch (err) {
        logger.error({ err, taskId: agent?.task.id }, 'the rules of a project could not be used')
        return toLook('The rules of this project could not be read.')
      }
    },
    async through(agent, decision, answer) {
      const decided: { ask: Ask; request: number | null; key: string }[] = []
      try {
        const reply = await answer((ask) => {
          const request = requestOf(agent, ask)
          const key = keyOf(agent, request)
          answering.set(key, { by: 'ccm' })
          decided.push({ ask, request, key })
        })
        if (reply === 'done') for (const { ask, request } of decided) note(agent, ask, request, decision)
        return reply
      } finally {
        for (const { key } of decided) answering.delete(key)
      }
    },
    async unheld(agent) {
      const { taskId, attempt } = agent.attempt
      const ask = agent.watcher?.answers.unheld() ?? null
      const request = ask === null ? null : requestOf(agent, ask)
      const key = keyOf(agent, request)
      if (ask === null || request === null || judged.has(ask) || answering.has(key)) return
      try {
        const verdict = isAllThere(ask) ? verdictOf(agent, ask) : null
        if (verdict === null || verdict.effect === 'ask') return void judged.add(ask)
        const { effect } = verdict
        const rule = verdict.rules.join(', ')
        const decided = { decision: effect === 'allow' ? 'granted' : 'denied', by: 'rule', rule }
        answering.set(key, decided)
        if ((await agent.watcher?.answers.byRule(ask, effect, rule)) !== 'done') return
        judged.add(ask)
        store(agent, ask, request, decided)
        logger.info({ taskId, attempt, code: effect, rule }, 'a rule decided, by key')
      } catch (err) {
        logger.error({ err, taskId, attempt }, 'the rules of a project could not be used')
      } finally {
        answering.delete(key)
      }
    },
    inWindow(agent, { request, decision, proof }) {
      const asked = answering.get(keyOf(agent, request.id))
      const inWindow = { by: 'window', proof: `Answered in the window: ${proof}` }
      store(agent, request.ask, request.id, { ...(asked ?? inWindow), decision })
    },
  }
}

function keyOf({ attempt: { taskId, attempt } }: RunningAgent, request: number | null): string {
  return `${taskId}.${attempt}.${request}`
}

function toLook(permissionDecisionReason: string): LookReply {
  const hookEventName = 'PreToolUse'
  return { hookSpecificOutput: { hookEventName, permissionDecision: 'ask', permissionDecisionReason } }
}

function toReply({ effect, rules }: Verdict, ask: Ask): AskReply {
  // Claude Code takes an "allow" for a plan only with the input repeated (2.1.328).
  const repeated = waitKindOf(ask.tool) === 'plan' ? { updatedInput: ask.input } : {}
  const decision =
    effect === 'allow'
      ? { behavior: 'allow' as const, ...repeated }
      : { behavior: 'deny' as const, message: deniedBy(rules.join(', ')) }
  return { hookSpecificOutput: { hookEventName: 'PermissionRequest', decision } }
}
