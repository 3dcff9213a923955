import { createHash, timingSafeEqual } from 'node:crypto'
import {
  alertRuleFor,
  alertText,
  endOf,
  readAlerts,
  type Alert,
  type AlertRule,
} from '../../core/outside/alert.ts'
import { CcmError } from '../../core/errors.ts'
import type { NewInboxEntry } from '../../core/outside/inbox.ts'
import { outsideTask, plainTemplate, titleOf } from '../../core/outside/outside-task.ts'
import type { Template } from '../../core/task/template.ts'
import type { AppDeps } from '../deps.ts'
import { inTime } from '../../supervisor/loops/in-time.ts'
import { HookReply } from '../../protocol/webhook.ts'
import { Problem } from '../problem.ts'
import { readBody } from '../routes/body.ts'
import type { Route } from '../routes/route.ts'

/** With what the queue and the templates may take it stays within the 10 s that an answer may. */
const ENDS_MS = 3000

const PLAIN = plainTemplate(
  'alertmanager',
  `A Prometheus alert fires. Below is what it says. Find the cause as far as it lies in this project, follow its runbook
where there is one, and say what you found and what should be done. Change nothing outside this directory.`,
  [],
)

/** How an Alertmanager says who it is; `basic` is `user:password`. At least one is set. */
export type PrometheusHook = {
  token: string | null
  basic: string | null
  rules: readonly AlertRule[]
  /** Tasks of alerts that may be open at once. */
  maxOpen: number
}

/** `POST /webhook/prometheus`: exists only where a token or password is configured. */
export function prometheusRoute(deps: AppDeps, hook: PrometheusHook): Route {
  return {
    method: 'POST',
    path: '/webhook/prometheus',
    access: 'own',
    about: 'Messages of an Alertmanager, with its bearer token or password.',
    reply: HookReply,
    statuses: [200, 202],
    timeoutMs: 10_000,
    async handle(context) {
      if (!isKnown(hook, context.req.header('authorization') ?? '')) {
        context.header('www-authenticate', hook.token === null ? 'Basic realm="ccm"' : 'Bearer')
        throw new Problem(401, { code: 'UNAUTHORIZED', message: 'The credential is missing or wrong.' })
      }
      const message = readAlerts(await readBody(context))
      if (message === null)
        throw new Problem(400, { code: 'BAD_INPUT', message: 'The body is no message of an Alertmanager.' })
      const resolved = message.alerts.filter(({ status }) => status === 'resolved')
      const firing = message.alerts.filter(({ status }) => status === 'firing')
      const now = deps.clock()
      // First of all: what fires is looked up and stored without a pause in between, so nothing slips through.
      const ends = resolved.map((alert) => ({ fingerprint: alert.fingerprint, endedAt: endOf(alert, now) }))
      deps.webhooks.alertEnds.note(ends, now)
      const ending = await endAll(deps, resolved)
      await deps.webhooks.noteOver('alertmanager')
      const templates = await templatesOf(deps, hook.rules)
      const reply = {
        accepted: 0,
        known: 0,
        resolved: ending.ended,
        unmatched: 0,
        late: 0,
        over: 0,
        odd: message.odd,
      }
      // An alert may fire for longer than what is over is known.
      deps.webhooks.cameAgain(firing.map(({ key }) => key))
      let room = hook.maxOpen - deps.webhooks.countOpen('alertmanager')
      const entries = new Map<string, NewInboxEntry>()
      for (const alert of firing) {
        const rule = alertRuleFor(alert, hook.rules)
        const template = rule === null ? undefined : templates.get(rule)
        const { key, fingerprint, startsAt } = alert
        if (rule === null || template === undefined) reply.unmatched += 1
        else if (deps.webhooks.byKey(key) !== null || entries.has(key)) reply.known += 1
        else if (deps.webhooks.alertEnds.isOver(fingerprint, Date.parse(startsAt), now)) reply.late += 1
        // Not stored: Alertmanager sends it again while it fires, and then there may be room.
        else if (room <= 0) reply.over += 1
        else {
          room -= 1
          entries.set(key, toEntry(alert, rule, template, deps.webhooks.boundary()))
        }
      }
      reply.accepted = deps.webhooks.accept([...entries.values()]).filter(({ isNew }) => isNew).length
      if (reply.accepted + reply.resolved > 0) {
        const target = `${reply.accepted} firing, ${reply.resolved} resolved`
        context.set('caller', { kind: 'alertmanager', id: 'alertmanager' })
        context.set('about', { taskId: null, project: null, target })
      }
      // What fires is stored by now; what is over comes again, as Alertmanager repeats what was not taken.
      if (ending.fault !== null) throw ending.fault
      return context.json(reply, reply.accepted > 0 ? 202 : 200)
    },
  }
}

/**
 * Ends what waits or has not begun. Together, as a slow queue would let none but the first end in time; they are
 * `max_open` at most, for what was seen to be over is let be. `fault`: one of them could not be ended in time.
 */
async function endAll(
  deps: AppDeps,
  resolved: readonly Alert[],
): Promise<{ ended: number; fault: Error | null }> {
  const late = () => {
    throw new CcmError('UNAVAILABLE', 'The queue does not answer, so what is resolved goes on for now.')
  }
  const keys = new Set(resolved.map(({ key }) => key))
  const entries = [...keys].map((key) => deps.webhooks.byKey(key)).filter((entry) => entry !== null)
  const ends = await Promise.allSettled(
    entries
      .filter(({ isOver }) => !isOver)
      .map((entry) => inTime(ENDS_MS, deps.webhooks.end(entry, 'The alert is resolved.', false), late)),
  )
  const failed = ends.find((end) => end.status === 'rejected')
  const reason: unknown = failed?.reason
  return {
    ended: ends.filter((end) => end.status === 'fulfilled' && end.value).length,
    fault: failed === undefined ? null : reason instanceof Error ? reason : new Error(String(reason)),
  }
}

function isKnown({ token, basic }: PrometheusHook, header: string): boolean {
  const [, scheme = '', given = ''] = /^(Bearer|Basic) +([\x21-\x7e]{1,4096})$/i.exec(header) ?? []
  if (scheme.toLowerCase() === 'bearer') return token !== null && isSame(given, token)
  return (
    scheme.toLowerCase() === 'basic' &&
    basic !== null &&
    isSame(Buffer.from(given, 'base64').toString('utf8'), basic)
  )
}

function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

type Found = { template: Template; missing: string | null }

/** The template of each rule. Together: each may wait some seconds for a Supabase that does not answer. */
async function templatesOf(deps: AppDeps, rules: readonly AlertRule[]): Promise<Map<AlertRule, Found>> {
  const find = async (rule: AlertRule) =>
    [rule, await deps.templates.forOutside(rule.template, PLAIN)] as const
  return new Map(await Promise.all(rules.map(find)))
}

function toEntry(
  alert: Alert,
  rule: AlertRule,
  { template, missing }: Found,
  boundary: string,
): NewInboxEntry {
  const alertname = /^\w{1,100}$/.test(alert.name) ? alert.name : null
  const taskFrom = (of: Template) =>
    outsideTask({
      template: of,
      values: { alertname, fingerprint: alert.fingerprint, started: alert.startsAt },
      texts: [alertText(alert)],
      boundary,
      source: 'alertmanager',
    })
  const wanted = taskFrom(template)
  const task = 'fault' in wanted ? taskFrom(PLAIN) : wanted
  if ('fault' in task) throw new Problem(422, { code: 'BAD_INPUT', message: task.fault })
  // Nothing is lost, nor what else is in the message, where its template is or cannot be filled: it waits, with a prompt of ours.
  const fault = 'fault' in wanted ? `Its template ${template.name} cannot be used: ${wanted.fault}` : missing
  const reason = rule.approve === 'always' ? 'Its rule wants every alert approved.' : fault
  return {
    key: alert.key,
    source: 'alertmanager',
    project: rule.project,
    state: reason === null ? 'pending' : 'waiting',
    title: titleOf(`Alert ${alert.name} since ${alert.startsAt}`),
    sender: null,
    task,
    origin: { kind: 'alert', fingerprint: alert.fingerprint },
    reason,
  }
}
