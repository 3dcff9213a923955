import { verify } from '@octokit/webhooks-methods'
import {
  githubRuleFor,
  readGithubEvent,
  type GithubEvent,
  type GithubRule,
} from '../../core/outside/github-event.ts'
import type { NewInboxEntry } from '../../core/outside/inbox.ts'
import { outsideTask, plainTemplate, titleOf } from '../../core/outside/outside-task.ts'
import type { Template } from '../../core/task/template.ts'
import type { AppDeps } from '../deps.ts'
import { HookReply } from '../../protocol/webhook.ts'
import { Problem } from '../problem.ts'
import type { HttpContext, Route } from '../routes/route.ts'

/** What a rule without a template asks for. */
const PLAIN = plainTemplate(
  'github',
  `Something happened in the GitHub repository {{repository}}: {{event}} {{action}}. Below is what people wrote about it.
Look at what it is about and, where it concerns this project, do what helps: fix it, answer it, or say why not. Change
nothing outside this directory.`,
  ['repository', 'event', 'action'],
)

/** Requests that may wait for approval at once. */
const OF_STRANGER_MAX = 20
const OF_REPOSITORY_MAX = 200

/** `POST /webhook/github`: exists only where a secret is configured. */
export function githubRoute(deps: AppDeps, github: { secret: string; rules: readonly GithubRule[] }): Route {
  return {
    method: 'POST',
    path: '/webhook/github',
    access: 'own',
    about: 'Deliveries of GitHub, signed with its secret.',
    reply: HookReply,
    statuses: [200, 202],
    timeoutMs: 10_000,
    async handle(context) {
      const body = Buffer.from(await context.req.arrayBuffer())
      await checkSignature(context, github.secret, body)
      const delivery = context.req.header('x-github-delivery') ?? ''
      if (!/^[\w-]{1,100}$/.test(delivery))
        throw new Problem(400, {
          code: 'BAD_INPUT',
          message: 'The header X-GitHub-Delivery is missing or odd.',
        })
      const name = context.req.header('x-github-event') ?? ''
      if (name === 'ping') return context.json({ ignored: 'a ping' })
      const event = readGithubEvent(name, parse(body))
      if ('ignored' in event) return context.json(event)
      const rule = githubRuleFor(event, github.rules)
      if (rule === null) return context.json({ ignored: 'no rule matches' })
      if (event.command !== null && /^cancel\b/i.test(event.command)) {
        // A stranger may not.
        if (event.trusted) noteChange(context, event, rule)
        return cancel(deps, context, event)
      }
      const entry = await toEntry(deps, `gh:${delivery}`, event, rule)
      const full = whyNoRoom(deps, entry, event)
      if (full !== null) return context.json({ ignored: full })
      const accepted = deps.webhooks.accept([entry])[0]
      if (accepted?.isNew === true) noteChange(context, event, rule)
      return context.json(
        { id: accepted?.entry.id, state: accepted?.entry.state, known: accepted?.isNew === false },
        202,
      )
    },
  }
}

/** Nobody may fill the inbox of those who approve: why one more cannot wait in it, or null. */
function whyNoRoom(
  { webhooks }: AppDeps,
  { key, state }: NewInboxEntry,
  { repository, sender, trusted }: GithubEvent,
): string | null {
  if (state !== 'waiting' || webhooks.byKey(key) !== null) return null
  const { all, own } = webhooks.countWaiting(repository, sender)
  if (!trusted && own >= OF_STRANGER_MAX) return `${own} requests of ${sender} wait for approval`
  return all >= OF_REPOSITORY_MAX ? `${all} requests from ${repository} wait for approval` : null
}

/** For the audit log. */
function noteChange(context: HttpContext, event: GithubEvent, { project }: GithubRule): void {
  const { repository, number, sender } = event
  context.set('caller', { kind: 'github', id: sender })
  const target = number === null ? repository : `${repository}#${number}`
  context.set('about', { taskId: null, project, target })
}

/** On the bytes as they came; the comparison takes as long for every signature. */
async function checkSignature(context: HttpContext, secret: string, body: Buffer): Promise<void> {
  const signature = context.req.header('x-hub-signature-256') ?? ''
  const text = body.toString('utf8')
  // What is no UTF-8 would be verified as something else than what came.
  const good =
    /^sha256=[0-9a-f]{64}$/.test(signature) &&
    Buffer.from(text, 'utf8').equals(body) &&
    text !== '' &&
    (await verify(secret, text, signature))
  if (!good)
    throw new Problem(401, {
      code: 'UNAUTHORIZED',
      message: 'The signature in X-Hub-Signature-256 is missing or wrong.',
    })
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown
  } catch {
    throw new Problem(400, { code: 'BAD_INPUT', message: 'The body is not valid JSON.' })
  }
}

async function toEntry(
  deps: AppDeps,
  key: string,
  event: GithubEvent,
  rule: GithubRule,
): Promise<NewInboxEntry> {
  const { repository, number, url, sender, action, branch } = event
  const { template, missing } = await deps.templates.forOutside(rule.template, PLAIN)
  const safeUrl = /^https:\/\/[\w./#-]{1,500}$/.test(url) ? url : null
  const safeBranch = branch !== null && /^[\w./-]{1,200}$/.test(branch) ? branch : null
  const taskFrom = (of: Template) =>
    outsideTask({
      template: of,
      values: { event: event.event, action, repository, number, url: safeUrl, sender, branch: safeBranch },
      texts: event.texts,
      boundary: deps.webhooks.boundary(),
      source: 'github',
    })
  const wanted = taskFrom(template)
  const task = 'fault' in wanted ? taskFrom(PLAIN) : wanted
  if ('fault' in task) throw new Problem(422, { code: 'BAD_INPUT', message: task.fault })
  const isStranger = rule.approve !== 'never' && !event.trusted
  // GitHub sends it once. So nothing is lost where its template is or cannot be filled: it waits, with a prompt of ours.
  const fault = 'fault' in wanted ? `Its template ${template.name} cannot be used: ${wanted.fault}` : missing
  const reasons = [
    isStranger ? `Its author is a stranger to the repository (${event.association}).` : null,
    rule.approve === 'always' && !isStranger ? 'Its rule wants every request approved.' : null,
    fault,
  ].filter((reason) => reason !== null)
  return {
    key,
    source: 'github',
    project: rule.project,
    state: reasons.length > 0 ? 'waiting' : 'pending',
    title: titleOf(event.title),
    sender,
    task,
    origin: { kind: 'github', repository, number },
    reason: reasons.length > 0 ? reasons.join(' ') : null,
  }
}

/** Ends what came from this issue; only who may write to the repository is heard. */
async function cancel(deps: AppDeps, context: HttpContext, event: GithubEvent): Promise<Response> {
  if (!event.trusted) return context.json({ ignored: 'a stranger may not cancel' })
  const { repository, number } = event
  const open = number === null ? [] : await deps.webhooks.openOf(repository, number)
  // Together: each may wait some seconds for a queue that does not answer, and GitHub waits for 10.
  const ended = await Promise.all(
    open.map((entry) => deps.webhooks.end(entry, `${event.sender} asked for it on GitHub.`, true)),
  )
  return context.json({ cancelled: ended.filter(Boolean).length }, 202)
}
