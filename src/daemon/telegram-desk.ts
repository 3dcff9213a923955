import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { clip } from '../core/clip.ts'
import { CcmError, type ErrorCode } from '../core/errors.ts'
import { outsideTask, plainTemplate, titleOf } from '../core/outside/outside-task.ts'
import type { Redactor } from '../core/redact.ts'
import { isFinal } from '../core/task/task.ts'
import type { AppDeps, AnswerReply, Notice, TaskView } from '../http/deps.ts'
import type { OutsideSecrets, Outside } from './outside.ts'
import { statusOf } from '../http/problem.ts'
import type { Asker, TelegramPorts } from '../telegram/bot.ts'

const PLAIN = plainTemplate(
  'telegram',
  'Below is a request that came through Telegram. Change nothing outside this directory.',
  [],
)
const LISTED = 10

/** What became of something that a chat asked for; `code`: nothing. */
type Done = { said: string; taskId?: string | null; project?: string | null; code?: ErrorCode | null }

/**
 * The Telegram bot before this daemon, or null where none is configured: then its library is not even loaded. It
 * begins to talk with `begin`.
 */
export async function createTelegramDesk(options: {
  config: Config['telegram']
  secrets: OutsideSecrets
  deps: Pick<
    AppDeps,
    'tasks' | 'inbox' | 'templates' | 'status' | 'projects' | 'webhooks' | 'audit' | 'idempotency' | 'clock'
  >
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
      const ids = await deps.tasks.idsByPrefix(given.toLowerCase(), null)
      const [id, other] = ids
      if (other !== undefined) throw new CcmError('CONFLICT', `More than one task begins with ${given}.`)
      const view = id === undefined ? null : await deps.tasks.get(id)
      if (view === null) throw new CcmError('NOT_FOUND', `There is no task ${given}.`)
      return view
    }
    const decided = ({ id, project }: TaskView['task'], reply: AnswerReply, done: string): Done => {
      const about = { taskId: id, project }
      if (reply === 'done') return { ...about, said: `${done} Task ${id} goes on.` }
      const nothing = reply === 'unknown' || reply === 'not_waiting'
      const said = nothing ? `Task ${id} waits for nothing now.` : reply.refused
      return { ...about, said, code: 'CONFLICT' }
    }
    /** Does what a chat asks for and writes that down, also where it comes to nothing. */
    const audited = async (
      action: string,
      target: string,
      { by, chat }: Asker,
      act: () => Promise<Done>,
    ): Promise<string> => {
      const write = ({ taskId = null, project = null, code = null }: Omit<Done, 'said'>) =>
        deps.audit({
          at: deps.clock(),
          kind: 'telegram',
          who: chat,
          action,
          target,
          taskId,
          project,
          origin: by,
          status: code === null ? 200 : statusOf(code),
          code,
          requestId: null,
        })
      const done = await act().catch((error: unknown) => {
        write({ code: error instanceof CcmError ? error.code : 'INTERNAL' })
        throw error
      })
      write(done)
      return done.said
    }
    const taken = async (key: string, { by, chat }: Asker, text: string): Promise<Done> => {
      const [, named, rest] = /^@([a-z0-9][a-z0-9-]{0,39})\s+([^]+)$/.exec(text) ?? []
      const project = named ?? config.project
      if (project === '')
        return {
          said: 'Name a project: /run @app Fix the failing test. Or set telegram.project.',
          code: 'BAD_INPUT',
        }
      if (!(await deps.projects.list()).some(({ name }) => name === project))
        return { said: `There is no project ${project}.`, code: 'NOT_FOUND' }
      const { template, missing } = await deps.templates.forOutside(config.template, PLAIN)
      if (missing !== null)
        return { said: `${missing} It is named in [telegram].`, project, code: 'NOT_FOUND' }
      const task = outsideTask({
        template,
        values: { sender: by, project },
        texts: [{ from: 'a Telegram chat', by, text: rest ?? text, isRequest: true }],
        boundary: deps.webhooks.boundary(),
        source: 'telegram',
      })
      if ('fault' in task) return { said: task.fault, project, code: 'BAD_INPUT' }
      const title = titleOf(rest ?? text)
      const origin = { kind: 'telegram', chat } as const
      const [accepted] = deps.webhooks.accept([
        { key, source: 'telegram', project, state: 'pending', title, sender: by, task, origin, reason: null },
      ])
      return { said: `Request ${accepted?.entry.id ?? '?'} is taken for ${project}.`, project }
    }
    return {
      isDone: (update) => deps.idempotency.find('telegram', String(update), '', deps.clock()) !== 'new',
      setDone: (update) =>
        deps.idempotency.keep('telegram', String(update), '', { status: 200, body: '' }, deps.clock()),
      run: (key, asker, text) => audited('/run', key, asker, () => taken(key, asker, text)),
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
      cancel: (given, asker) =>
        audited('/cancel', given, asker, async () => {
          const { task } = await find(given)
          const about = { taskId: task.id, project: task.project }
          const reply = await deps.tasks.cancel(task.id, `${asker.by} asked for it.`)
          if (reply === 'already_final') return { ...about, said: `Task ${task.id} is over already.` }
          const how = reply === 'requested' ? 'being ended' : 'cancelled'
          return { ...about, said: `Task ${task.id} is ${how}.` }
        }),
      approve: (given, ask, asker) =>
        audited('/approve', given, asker, async () => {
          const { task } = await find(given)
          return decided(task, await deps.tasks.approve(task.id, ask), 'Approved.')
        }),
      deny: (given, ask, asker) =>
        audited('/deny', given, asker, async () => {
          const { task } = await find(given)
          return decided(task, await deps.tasks.deny(task.id, `${asker.by} denied it.`, ask), 'Denied.')
        }),
      decide: (id, approved, asker) =>
        audited(`request ${approved ? 'approved' : 'refused'}`, String(id), asker, async () => {
          // What a press says is made by the client that sends it, whether or not it was ever shown that button.
          if (!config.operators.includes(asker.chat))
            return { said: 'Only the operators decide on requests.', code: 'FORBIDDEN' }
          const entry = approved
            ? await deps.inbox.approve(id, asker.by)
            : await deps.inbox.refuse(id, asker.by, 'A person refused it.')
          if (entry === null) return { said: `There is no request ${id}.`, code: 'NOT_FOUND' }
          const said = `Request ${id} is ${approved ? 'approved' : 'refused'}.`
          return { said, taskId: entry.taskId, project: entry.project }
        }),
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
