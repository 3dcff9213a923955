import { createHash, timingSafeEqual } from 'node:crypto'
import { alertRuleFor, alertText, readAlerts, type Alert, type AlertRule } from '../../core/outside/alert.ts'
import type { InboxEntry, NewInboxEntry } from '../../core/outside/inbox.ts'
import { outsideTask, plainTemplate, titleOf } from '../../core/outside/outside-task.ts'
import type { AppDeps } from '../deps.ts'
import { HookReply } from '../../protocol/webhook.ts'
import { Problem } from '../problem.ts'
import { readBody } from '../routes/body.ts'
import type { Route } from '../routes/route.ts'

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
      const open = await deps.webhooks.openOf('alertmanager')
      const reply = { accepted: 0, known: 0, resolved: 0, unmatched: 0, over: 0, odd: message.odd }
      const over = message.alerts.filter(({ status }) => status === 'resolved').map(({ key }) => key)
      const ending = await endAll(
        deps,
        open.filter(({ key }) => over.includes(key)),
      )
      reply.resolved = ending.ended
      let room = hook.maxOpen - open.length + reply.resolved
      const entries = new Map<string, NewInboxEntry>()
      for (const alert of message.alerts.filter(({ status }) => status === 'firing')) {
        const rule = alertRuleFor(alert, hook.rules)
        if (rule === null) reply.unmatched += 1
        else if (deps.webhooks.isKnown(alert.key) || entries.has(alert.key)) reply.known += 1
        // Not stored: Alertmanager sends it again while it fires, and then there may be room.
        else if (room <= 0) reply.over += 1
        else {
          room -= 1
          entries.set(alert.key, await toEntry(deps, alert, rule))
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

/** Ends what waits or has not begun; `fault`: the queue did not answer, and nothing more was tried. */
async function endAll(
  deps: AppDeps,
  entries: readonly InboxEntry[],
): Promise<{ ended: number; fault: Error | null }> {
  let ended = 0
  for (const entry of entries) {
    try {
      if (await deps.webhooks.end(entry, 'The alert is resolved.', false)) ended += 1
    } catch (error) {
      return { ended, fault: error instanceof Error ? error : new Error(String(error)) }
    }
  }
  return { ended, fault: null }
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

async function toEntry(deps: AppDeps, alert: Alert, rule: AlertRule): Promise<NewInboxEntry> {
  const { template, missing } = await deps.templates.forOutside(rule.template, PLAIN)
  const alertname = /^\w{1,100}$/.test(alert.name) ? alert.name : null
  const task = outsideTask({
    template,
    values: { alertname, fingerprint: alert.fingerprint, started: alert.startsAt },
    texts: [alertText(alert)],
    boundary: deps.webhooks.boundary(),
    source: 'alertmanager',
  })
  if ('fault' in task) throw new Problem(422, { code: 'BAD_INPUT', message: task.fault })
  // Nothing is lost where its template is: it waits, with a prompt of ours.
  const reason = rule.approve === 'always' ? 'Its rule wants every alert approved.' : missing
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
