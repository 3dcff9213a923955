import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { Clock } from '../core/clock.ts'
import { githubReply, OWN_MARK } from '../core/outside/reply.ts'
import type { InboxEntry, Origin } from '../core/outside/inbox.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Redactor } from '../core/redact.ts'
import type { Task } from '../core/task/task.ts'
import type { AppDeps } from '../http/deps.ts'
import type { TelegramHook } from '../http/webhooks/telegram.ts'
import { createGithubComments } from '../notify/github.ts'
import { readSecret } from '../config/secrets.ts'
import type { AlertEnds } from '../store/alert-ends.ts'
import type { InboxStore } from '../store/inbox.ts'
import type { StartPulse } from '../supervisor/loops/beats.ts'
import { createInbox, type Inbox } from '../supervisor/requests/inbox.ts'
import { watchLoop } from '../supervisor/loops/patience.ts'
import { createReplies, type Replies, type Teller } from '../supervisor/requests/replies.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'

/** The secrets of services outside; null: not configured. */
export type OutsideSecrets = Record<
  | 'githubSecret'
  | 'githubToken'
  | 'alertmanagerToken'
  | 'alertmanagerPassword'
  | 'telegramToken'
  | 'telegramSecret',
  string | null
>

/** Reads them all; throws BAD_CONFIG for one that cannot be had. */
export async function readOutsideSecrets(
  config: Config,
  env: Record<string, string | undefined>,
): Promise<OutsideSecrets> {
  const { github, alertmanager, telegram } = config
  return {
    githubSecret: await readSecret('github.secret', github.secret, env),
    githubToken: await readSecret('github.token', github.token, env),
    alertmanagerToken: await readSecret('alertmanager.token', alertmanager.token, env),
    alertmanagerPassword: await readSecret('alertmanager.password', alertmanager.password, env),
    telegramToken: await readSecret('telegram.token', telegram.token, env),
    telegramSecret: await readSecret('telegram.secret', telegram.secret, env),
  }
}

/** Everything between the services outside and the queue. */
export type Outside = {
  inbox: Inbox
  replies: Replies
  webhooks: AppDeps['webhooks']
  /** Before anything begins: how chats are told, and who hears of requests that wait for approval. */
  attach: (chat: {
    hook: TelegramHook | null
    teller: Teller
    onWaiting: (entry: InboxEntry) => void
  }) => void
  close: () => Promise<void>
}

/** Builds it; nothing is sent or queued before `inbox.begin`. */
export function createOutside(deps: {
  config: Config
  secrets: OutsideSecrets
  store: InboxStore
  alertEnds: AlertEnds
  queue: Pick<Queue, 'get' | 'list'>
  insert: (entry: InboxEntry) => Promise<Task>
  supervisor: Pick<Supervisor, 'cancel' | 'subscribe'>
  redactor: Redactor
  clock: Clock
  logger: Logger
  pulse?: StartPulse
  /** The queue is another machine's. */
  isFar: boolean
}): Outside {
  const { config, secrets, store, queue, supervisor, redactor, clock, logger } = deps
  const shared = { store, queue, clock, random: Math.random, logger }
  const { githubSecret, githubToken, alertmanagerToken, alertmanagerPassword } = secrets
  const tellers: Partial<Record<Origin['kind'], Teller>> = {}
  if (githubToken !== null) tellers.github = githubTeller(config.github.apiUrl, githubToken)
  let onWaiting: (entry: InboxEntry) => void = () => undefined
  const replies = createReplies({ ...shared, redactor, tellers })
  const loop = watchLoop(queue, deps.pulse, deps.isFar)
  const inbox = createInbox({
    ...shared,
    ...loop.watched,
    queue: loop.api,
    insert: (entry) => loop.during(deps.insert(entry)),
    cancel: (taskId, reason) => supervisor.cancel(taskId, reason),
    onSettled: () => replies.nudge(),
  })
  const unsubscribe = supervisor.subscribe(({ kind, taskId }) => {
    if (kind === 'task') replies.onTask(taskId)
  })
  const webhooks: AppDeps['webhooks'] = {
    github: githubSecret === null ? null : { secret: githubSecret, rules: config.github.rules },
    prometheus:
      alertmanagerToken === null && alertmanagerPassword === null
        ? null
        : {
            token: alertmanagerToken,
            basic:
              alertmanagerPassword === null ? null : `${config.alertmanager.user}:${alertmanagerPassword}`,
            rules: config.alertmanager.rules,
            maxOpen: config.alertmanager.maxOpen,
          },
    telegram: null,
    accept(entries) {
      const accepted = inbox.accept(entries)
      for (const { entry, isNew } of accepted) if (isNew && entry.state === 'waiting') onWaiting(entry)
      return accepted
    },
    byKey: store.byKey,
    cameAgain: (keys) => store.cameAgain(keys, clock()),
    alertEnds: deps.alertEnds,
    originOf: (taskId) => store.ofTask(taskId)?.origin ?? null,
    openOf: (repository, number) => inbox.openOf(repository, number),
    noteOver: (source) => inbox.noteOver(source),
    countOpen: store.countOpen,
    countWaiting: store.countWaiting,
    end: (entry, reason, running) => inbox.end(entry, reason, running),
    boundary: () => randomBytes(16).toString('hex'),
  }
  return {
    inbox,
    replies,
    webhooks,
    attach(chat) {
      webhooks.telegram = chat.hook
      tellers.telegram = chat.teller
      onWaiting = chat.onWaiting
    },
    async close() {
      unsubscribe()
      await inbox.close()
      await replies.close()
    },
  }
}

/** One comment for each request, changed as it goes on. */
function githubTeller(apiUrl: string, token: string): Teller {
  const comments = createGithubComments({ apiUrl, token })
  return async ({ origin, key, toldRef }, text, mayExist, signal) => {
    if (origin.kind !== 'github' || origin.number === null) return { ref: null }
    const mark = `${OWN_MARK}${key} -->`
    const issue = { repository: origin.repository, number: origin.number }
    return comments.write(issue, { ref: toldRef, mark, mayExist, text: githubReply(text, mark) }, signal)
  }
}
