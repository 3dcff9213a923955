import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { clip } from '../core/clip.ts'
import { CcmError } from '../core/errors.ts'
import { outsideTask, plainTemplate, titleOf } from '../core/outside-task.ts'
import type { Redactor } from '../core/redact.ts'
import { isFinal } from '../core/task.ts'
import type { AppDeps, AnswerReply, Notice, TaskView } from '../http/deps.ts'
import type { OutsideSecrets, Outside } from './outside.ts'
import type { TelegramPorts } from '../telegram/bot.ts'

const PLAIN = plainTemplate(
  'telegram',
  'Below is a request that came through Telegram. Change nothing outside this directory.',
  [],
)
const LISTED = 10

/**
 * The Telegram bot before this daemon, or null where none is configured: then its library is not even loaded. It
 * begins to talk with `begin`.
 */
export async function createTelegramDesk(options: {
  config: Config['telegram']
  secrets: OutsideSecrets
  deps: Pick<AppDeps, 'tasks' | 'inbox' | 'templates' | 'status' | 'projects' | 'webhooks'>
  attach: Outside['attach']
  subscribe: (listener: (notice: Notice) => void) => () => void
  redactor: Redactor
  logger: Logger
}): Promise<{ begin: () => void; close: () => Promise<void> } | null> {
  const { config, secrets, deps, redactor, logger } = options
  const { telegramToken: token } = secrets
  if (token === null) return null
  const { createTelegramBot } = await import('../telegram/bot.ts')
  const secret = secrets.telegramSecret ?? randomBytes(24).toString('hex')
  const webhook = config.url === '' ? null : { url: config.url, secret }
  const chats = [...new Set([...config.chats, ...config.operators])]
  const bot = createTelegramBot({ token, apiUrl: config.apiUrl, chats, webhook, ports: portsOf(), logger })

  function portsOf(): TelegramPorts {
    const find = async (given: string): Promise<TaskView> => {
      const ids = await deps.tasks.idsByPrefix(given.toLowerCase())
      const [id, other] = ids
      if (other !== undefined) throw new CcmError('CONFLICT', `More than one task begins with ${given}.`)
      const view = id === undefined ? null : await deps.tasks.get(id)
      if (view === null) throw new CcmError('NOT_FOUND', `There is no task ${given}.`)
      return view
    }
    const decided = (id: string, reply: AnswerReply, done: string): string => {
      if (reply === 'done') return `${done} Task ${id} goes on.`
      if (reply === 'unknown' || reply === 'not_waiting') return `Task ${id} waits for nothing now.`
      return reply.refused
    }
    return {
      async run(key, chat, sender, text) {
        const [, named, rest] = /^@([a-z0-9][a-z0-9-]{0,39})\s+([^]+)$/.exec(text) ?? []
        const project = named ?? config.project
        if (project === '') return 'Name a project: /run @app Fix the failing test. Or set telegram.project.'
        if (!(await deps.projects.list()).some(({ name }) => name === project))
          return `There is no project ${project}.`
        const template = deps.templates.find(({ name }) => name === config.template) ?? PLAIN
        const task = outsideTask({
          template,
          values: { sender, project },
          texts: [{ from: 'a Telegram chat', by: sender, text: rest ?? text, isRequest: true }],
          boundary: deps.webhooks.boundary(),
          source: 'telegram',
        })
        if ('fault' in task) return task.fault
        const title = titleOf(rest ?? text)
        const origin = { kind: 'telegram', chat } as const
        const [accepted] = deps.webhooks.accept([
          { key, source: 'telegram', project, state: 'pending', title, sender, task, origin, reason: null },
        ])
        return `Request ${accepted?.entry.id ?? '?'} is taken for ${project}.`
      },
      async tasks() {
        const views = await deps.tasks.list({ limit: LISTED })
        const lines = views.map(
          ({ task, agent }) =>
            `${task.id} ${task.status}${agent.waitingFor === null ? '' : ' (waits for you)'} ${task.project}: ${titleOf(task.prompt).slice(0, 80)}`,
        )
        return lines.length === 0 ? 'No tasks.' : redactor.text(lines.join('\n'))
      },
      async show(id) {
        const { task, agent } = await find(id)
        const said = task.result?.text ?? ''
        const lines = [
          `Task ${task.id} ${task.status} (${task.project})`,
          agent.reason ?? '',
          task.error ?? '',
          clip(said === '' ? titleOf(task.prompt) : said, 3000),
          agent.waitingFor === null ? '' : `It waits for you: ${clip(agent.waitingFor.detail, 2000)}`,
        ]
        const text = redactor.text(lines.filter((line) => line !== '').join('\n'))
        return { text, taskId: task.id, question: agent.waitingFor }
      },
      async cancel(given, by) {
        const { task } = await find(given)
        const reply = await deps.tasks.cancel(task.id, `${by} asked for it.`)
        if (reply === 'already_final') return `Task ${task.id} is over already.`
        return reply === 'requested' ? `Task ${task.id} is being ended.` : `Task ${task.id} is cancelled.`
      },
      async approve(given, ask) {
        const { task } = await find(given)
        return decided(task.id, await deps.tasks.approve(task.id, ask), 'Approved.')
      },
      async deny(given, ask, by) {
        const { task } = await find(given)
        return decided(task.id, await deps.tasks.deny(task.id, `${by} denied it.`, ask), 'Denied.')
      },
      async decide(id, approved, by, chat) {
        // What a press says is made by the client that sends it, whether or not it was ever shown that button.
        if (!config.operators.includes(chat)) return 'Only the operators decide on requests.'
        const entry = approved
          ? await deps.inbox.approve(id, by)
          : await deps.inbox.refuse(id, by, 'A person refused it.')
        if (entry === null) return `There is no request ${id}.`
        return `Request ${id} is ${approved ? 'approved' : 'refused'}.`
      },
      async status() {
        const { agents, max_concurrent, queued, running, holds } = await deps.status()
        return [
          `${agents} of ${max_concurrent} agents, ${running} running, ${queued} queued.`,
          ...holds.map((hold) => `Held: ${hold}`),
        ].join('\n')
      },
    }
  }

  /** Who asked a task, and the operators. */
  const chatsOf = (task: TaskView['task']): string[] => {
    const asked = deps.webhooks.originOf(task.id)
    return [...new Set([...(asked?.kind === 'telegram' ? [asked.chat] : []), ...config.operators])]
  }
  /** The newest question of each task that was sent; lost with the daemon, and then it is sent once more. */
  const sent = new Map<string, string>()
  const tellQuestion = async (taskId: string): Promise<void> => {
    const view = await deps.tasks.get(taskId)
    const question = view === null ? null : view.agent.waitingFor
    if (view === null || isFinal(view.task.status)) sent.delete(taskId)
    if (view === null || question === null || sent.get(taskId) === question.id) return
    sent.set(taskId, question.id)
    const clean = { ...question, detail: redactor.text(question.detail) }
    for (const chat of chatsOf(view.task)) await bot.ask(chat, taskId, clean)
  }
  const unsubscribe = options.subscribe(({ kind, taskId }) => {
    if (kind === 'hook') return
    tellQuestion(taskId).catch((err: unknown) => logger.warn({ err, taskId }, 'a question was not sent'))
  })
  options.attach({
    hook: webhook === null ? null : { secret, handle: (update) => bot.handle(update) },
    teller: async ({ origin }, text, _mayExist, signal) => {
      if (origin.kind !== 'telegram') return { ref: null }
      for (const chat of config.operators)
        if (chat !== origin.chat) await bot.tell(chat, text, signal).catch(() => undefined)
      return bot.tell(origin.chat, text, signal)
    },
    onWaiting: (entry) => {
      for (const chat of config.operators) void bot.announce(chat, entry)
    },
  })
  return {
    begin: () => bot.begin(),
    async close() {
      unsubscribe()
      await bot.close()
    },
  }
}
