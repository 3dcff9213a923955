import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { InboxEntry } from '../../src/core/outside/inbox.ts'
import { createApp } from '../../src/http/app.ts'
import type { Notice } from '../../src/http/deps.ts'
import { createTelegramDesk } from '../../src/daemon/telegram-desk.ts'
import type { Outside } from '../../src/daemon/outside.ts'
import { createRedactor } from '../../src/core/redact.ts'
import { createFakeDaemon } from '../http/fake-daemon.ts'
import { fakeWebhooks } from '../http/fake-inbox.ts'
import { TELEGRAM_TOKEN, message, press, serveFakeTelegram } from './fake-telegram.ts'

const ADA = 42
const OPERATOR = 77
const MALLORY = 666
const until = <T>(look: () => T) => vi.waitFor(look, { timeout: 5000, interval: 10 })

async function stage(options: { webhook?: boolean; accept?: () => never } = {}) {
  const telegram = await serveFakeTelegram()
  const accepted: Parameters<Outside['inbox']['accept']>[0] = []
  const listeners = new Set<(notice: Notice) => void>()
  const daemon = createFakeDaemon({
    webhooks: fakeWebhooks({
      telegram: null,
      accept(entries) {
        options.accept?.()
        accepted.push(...entries)
        return entries.map((entry, index) => ({
          entry: { ...entry, id: index + 1 } as unknown as InboxEntry,
          isNew: true,
        }))
      },
      originOf: () => ({ kind: 'telegram', chat: String(ADA) }),
    }),
  })
  const { deps, calls } = daemon
  await deps.projects.add({ dir: '/code/app', name: 'app', trust: true })
  const attached: Parameters<Outside['attach']>[0][] = []
  const log: string[] = []
  const desk = await createTelegramDesk({
    config: {
      token: TELEGRAM_TOKEN,
      chats: [String(ADA)],
      operators: [String(OPERATOR)],
      project: 'app',
      template: '',
      url: options.webhook === true ? 'https://ccm.example/webhook/telegram' : '',
      secret: '',
      apiUrl: telegram.url,
    },
    secrets: {
      githubSecret: null,
      githubToken: null,
      alertmanagerToken: null,
      alertmanagerPassword: null,
      telegramToken: TELEGRAM_TOKEN,
      telegramSecret: 'hook-secret',
    },
    deps,
    attach(chat) {
      attached.push(chat)
      deps.webhooks.telegram = chat.hook
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    redactor: createRedactor({ values: [TELEGRAM_TOKEN], patterns: [] }),
    logger: pino({ level: 'info' }, { write: (line: string) => void log.push(line) }),
  })
  desk?.begin()
  onTestFinished(async () => {
    await desk?.close()
    await telegram.close()
  })
  return { ...daemon, telegram, accepted, calls, listeners, attached, deps, log }
}

test('an allowed chat adds a restricted task under the key of the update, and is told so', async () => {
  const { telegram, accepted } = await stage()
  const id = telegram.push(message(ADA, '/run Fix {{it}} and say "done"'))
  await until(() => expect(telegram.textsTo(ADA)).toEqual(['Request 1 is taken for app.']))
  expect(accepted).toMatchObject([
    {
      key: `tg:${id}`,
      source: 'telegram',
      project: 'app',
      state: 'pending',
      sender: 'telegram ada',
      origin: { kind: 'telegram', chat: '42' },
      task: { source: 'telegram', prompt: expect.stringContaining('Fix {{it}} and say "done"\nEND OF DATA') },
    },
  ])
})

test('a chat that is not allowed is not heard, whatever it says or presses', async () => {
  const { telegram, accepted, calls } = await stage()
  telegram.push(message(MALLORY, '/run rm -rf /'))
  telegram.push(message(MALLORY, '/tasks'))
  telegram.push(press(MALLORY, 'a:task:1'))
  telegram.push(message(ADA, '/status'))
  await until(() => expect(telegram.textsTo(ADA)).toHaveLength(1))
  expect(telegram.textsTo(MALLORY)).toEqual([])
  expect([accepted, calls.filter(([name]) => name === 'approve')]).toEqual([[], []])
})

test.each([
  ['forwarded', { forward_origin: { type: 'hidden_user', sender_user_name: 'Mallory', date: 0 } }],
  ['of an inline bot', { via_bot: { id: 9, is_bot: true, first_name: 'other' } }],
])('a command in a text that is %s is not done, and that is said', async (_what, how) => {
  const { telegram, accepted, addTask, calls } = await stage()
  addTask('0fk3')
  for (const text of ['/run rm -rf /', '/cancel 0fk3', 'Hello!']) {
    const { message: given } = message(ADA, text) as { message: object }
    telegram.push({ message: { ...given, ...how } })
  }
  telegram.push(message(ADA, '/cancel nothing'))
  const no = 'Forwarded texts are no commands: write it yourself.'
  await until(() => expect(telegram.textsTo(ADA)).toEqual([no, no, 'There is no task nothing.']))
  expect([accepted, calls.filter(([name]) => name === 'cancel')]).toEqual([[], []])
})

test('/tasks, /show, /cancel, /approve and /deny do what they say, by the beginning of an id', async () => {
  const { telegram, addTask, calls } = await stage()
  addTask('0fk3', { prompt: 'Fix the parser' })
  for (const text of [
    '/tasks',
    '/show 0f',
    '/cancel 0f',
    '/approve 0f',
    '/deny 0f',
    '/show nothing',
    '/cancel',
  ])
    telegram.push(message(ADA, text))
  await until(() => expect(telegram.textsTo(ADA)).toHaveLength(7))
  expect(telegram.textsTo(ADA)).toEqual([
    '0fk3 queued app: Fix the parser',
    expect.stringMatching(/^Task 0fk3 queued/),
    'Task 0fk3 is cancelled.',
    'Approved. Task 0fk3 goes on.',
    'Denied. Task 0fk3 goes on.',
    'There is no task nothing.',
    'Name the task, as in /show 0fk3.',
  ])
  expect(calls.filter(([name]) => name !== 'addProject')).toEqual([
    ['cancel', '0fk3', 'telegram ada asked for it.'],
    ['approve', '0fk3', null],
    ['deny', '0fk3', 'telegram ada denied it.', null],
  ])
})

test('what a chat is shown of tasks is redacted: their prompt, their result and the reason of their state', async () => {
  const { telegram, addTask, deps } = await stage()
  addTask('0fk3', { prompt: `Log in with ${TELEGRAM_TOKEN}` })
  const view = await deps.tasks.get('0fk3')
  if (view === null) throw new Error('it is there')
  telegram.push(message(ADA, '/tasks'))
  await until(() => expect(telegram.textsTo(ADA)).toEqual(['0fk3 queued app: Log in with ***']))
  view.agent.reason = `It types ${TELEGRAM_TOKEN}.`
  view.task.result = { text: `Logged in with ${TELEGRAM_TOKEN}.` } as typeof view.task.result
  telegram.push(message(ADA, '/show 0fk3'))
  await until(() =>
    expect(telegram.textsTo(ADA)[1]).toBe('Task 0fk3 queued (app)\nIt types ***.\nLogged in with ***.'),
  )
})

test('a question comes to the chat that asked and to the operators, once, and a press answers this very one', async () => {
  const { telegram, addTask, listeners, deps, calls } = await stage()
  addTask('0fk3')
  const view = await deps.tasks.get('0fk3')
  const question = {
    id: 'abc123',
    kind: 'permission',
    tool: 'Bash',
    detail: `rm ${TELEGRAM_TOKEN}`,
    options: [],
  } as const
  if (view !== null) view.agent.waitingFor = { ...question, options: [] }
  for (let count = 0; count < 3; count++)
    for (const tell of listeners) tell({ kind: 'state', taskId: '0fk3' })
  await until(() => expect(telegram.textsTo(OPERATOR)).toHaveLength(1))
  expect(telegram.textsTo(ADA)).toHaveLength(1)
  expect(telegram.textsTo(ADA)[0]).toMatch(/^Task 0fk3 waits for you \(Bash\):\nrm (?!123456)/)
  const sent = telegram.calls.find(({ method }) => method === 'sendMessage')
  expect(sent?.body['reply_markup']).toEqual({
    inline_keyboard: [
      [
        { text: 'Approve', callback_data: 'a:0fk3:abc123' },
        { text: 'Deny', callback_data: 'd:0fk3:abc123' },
      ],
    ],
  })
  telegram.push(press(ADA, 'a:0fk3:abc123'))
  await until(() => expect(calls).toContainEqual(['approve', '0fk3', 'abc123']))
  await until(() => expect(telegram.calls.map(({ method }) => method)).toContain('answerCallbackQuery'))
})

test('a result comes to the chat that asked and to the operators; what Telegram refuses is tried again when it says', async () => {
  const { telegram, attached } = await stage()
  const teller = attached[0]?.teller
  const entry = { origin: { kind: 'telegram', chat: '42' } } as InboxEntry
  const signal = AbortSignal.timeout(5000)
  expect(await teller?.(entry, 'Task 0fk3: succeeded.', false, signal)).toEqual({ ref: expect.any(String) })
  expect(telegram.textsTo(ADA)).toEqual(telegram.textsTo(OPERATOR))
  telegram.refuse('sendMessage', { ok: true, result: { message_id: 5 } })
  telegram.refuse('sendMessage', {
    ok: false,
    error_code: 429,
    description: 'x',
    parameters: { retry_after: 7 },
  })
  expect(await teller?.(entry, 'x', false, signal)).toMatchObject({ retryAfterMs: 7000, hopeless: false })
  telegram.refuse('sendMessage', { ok: true, result: { message_id: 5 } })
  telegram.refuse('sendMessage', { ok: false, error_code: 403, description: 'blocked' })
  expect(await teller?.(entry, 'x', false, signal)).toMatchObject({ hopeless: true })
})

test('a request that waits is announced to the operators with buttons that decide it', async () => {
  const { telegram, attached } = await stage()
  attached[0]?.onWaiting({
    id: 7,
    title: 'octo/app#5',
    sender: 'mallory',
    project: 'app',
    reason: 'A stranger.',
  } as InboxEntry)
  await until(() => expect(telegram.textsTo(OPERATOR)[0]).toContain('Request 7 for app waits for approval'))
  telegram.push(press(OPERATOR, 'ia:7'))
  await until(() => expect(telegram.textsTo(OPERATOR)).toContain('There is no request 7.'))
  telegram.push(press(ADA, 'ia:7'))
  await until(() => expect(telegram.textsTo(ADA)).toEqual(['Only the operators decide on requests.']))
})

test('the webhook wants its secret token, and answers after the request is stored', async () => {
  const { telegram, deps, accepted } = await stage({ webhook: true })
  const app = createApp(deps)
  const post = (update: object, secret: string) =>
    app.request('/webhook/telegram', {
      method: 'POST',
      body: JSON.stringify(update),
      headers: {
        host: 'ccm.example',
        'x-forwarded-proto': 'https',
        'content-type': 'application/json',
        'x-telegram-bot-api-secret-token': secret,
      },
    })
  const update = { update_id: 5, ...message(ADA, '/run Fix it') }
  expect((await post(update, 'wrong')).status).toBe(401)
  expect((await post(update, '')).status).toBe(401)
  expect(accepted).toEqual([])
  expect((await post(update, 'hook-secret')).status).toBe(200)
  expect(accepted).toMatchObject([{ key: 'tg:5' }])
  expect((await post({ no: 'update' }, 'hook-secret')).status).toBe(400)
  await until(() =>
    expect(telegram.calls.find(({ method }) => method === 'setWebhook')?.body).toMatchObject({
      url: 'https://ccm.example/webhook/telegram',
      secret_token: 'hook-secret',
    }),
  )
})

test('an update that is delivered again is done once, also where the words about it never arrived', async () => {
  const { deps, telegram, addTask, calls } = await stage({ webhook: true })
  addTask('0fk3')
  const app = createApp(deps)
  const post = async (update_id: number) => {
    const reply = await app.request('/webhook/telegram', {
      method: 'POST',
      body: JSON.stringify({ update_id, ...message(ADA, '/approve 0fk3') }),
      headers: {
        host: 'ccm.example',
        'x-forwarded-proto': 'https',
        'content-type': 'application/json',
        'x-telegram-bot-api-secret-token': 'hook-secret',
      },
    })
    return reply.status
  }
  telegram.refuse('sendMessage', { ok: false, error_code: 500, description: 'x' })
  expect(await post(5)).toBe(200)
  expect(await post(5)).toBe(200)
  const approvals = () => calls.filter(([name]) => name === 'approve')
  expect(approvals()).toHaveLength(1)
  // The same at once: the second is told to come again.
  const gate = Promise.withResolvers<void>()
  const { approve } = deps.tasks
  deps.tasks.approve = async (...given) => {
    await gate.promise
    return approve(...given)
  }
  const first = post(6)
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(await post(6)).toBe(503)
  gate.resolve()
  expect(await first).toBe(200)
  expect(approvals()).toHaveLength(2)
})

test('what a chat changed, or tried to, is in the audit log: the chat, the person, the task', async () => {
  const { telegram, addTask, audits } = await stage()
  addTask('0fk3')
  const said = ['/run Fix it', '/cancel 0f', '/approve 0f', '/deny nothing', '/tasks', '/show 0f']
  for (const text of said) telegram.push(message(ADA, text))
  telegram.push(press(ADA, 'ia:7'))
  await until(() => expect(audits).toHaveLength(5))
  expect(
    audits.map(({ kind, who, origin, action, target, taskId, project, status }) =>
      [kind, who, origin, action, target, taskId, project, status].join(' | '),
    ),
  ).toEqual([
    expect.stringMatching(/^telegram \| 42 \| telegram ada \| \/run \| tg:\d+ \|  \| app \| 200$/),
    'telegram | 42 | telegram ada | /cancel | 0f | 0fk3 | app | 200',
    'telegram | 42 | telegram ada | /approve | 0f | 0fk3 | app | 200',
    'telegram | 42 | telegram ada | /deny | nothing |  |  | 404',
    'telegram | 42 | telegram ada | request approved | 7 |  |  | 403',
  ])
})

test('what could not be stored is an error to the webhook, so that it is delivered again', async () => {
  const { deps, telegram } = await stage({
    webhook: true,
    accept: () => {
      throw new Error('the disk is full')
    },
  })
  const reply = await createApp(deps).request('/webhook/telegram', {
    method: 'POST',
    body: JSON.stringify({ update_id: 5, ...message(ADA, '/run Fix it') }),
    headers: {
      host: 'ccm.example',
      'x-forwarded-proto': 'https',
      'content-type': 'application/json',
      'x-telegram-bot-api-secret-token': 'hook-secret',
    },
  })
  expect(reply.status).toBe(500)
  await until(() => expect(telegram.textsTo(ADA)).toEqual(['It was not taken: the disk is full']))
})

test('the token is in no log line, also while Telegram refuses and cannot be reached', async () => {
  const { telegram, attached, log } = await stage()
  const entry = { id: 7, title: 'x', sender: null, project: 'app', reason: null } as InboxEntry
  telegram.refuse('sendMessage', {
    ok: false,
    error_code: 401,
    description: `Unauthorized ${TELEGRAM_TOKEN}`,
  })
  attached[0]?.onWaiting(entry)
  await until(() => expect(log).toHaveLength(1))
  await telegram.close()
  attached[0]?.onWaiting(entry)
  await until(() => expect(log.length).toBeGreaterThan(1))
  expect(log.join('\n')).toContain('was not delivered')
  expect(log.join('\n')).not.toContain(TELEGRAM_TOKEN)
})
