import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { NewInboxEntry } from '../../src/core/outside/inbox.ts'
import { githubReply, OWN_MARK, replyText } from '../../src/core/outside/reply.ts'
import { createRedactor } from '../../src/core/redact.ts'
import type { Task } from '../../src/core/task/task.ts'
import { createGithubComments } from '../../src/notify/github.ts'
import { createInboxStore } from '../../src/store/inbox.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createReplies, type Teller } from '../../src/supervisor/requests/replies.ts'

type Comment = { id: number; body: string }

/** GitHub's comments on loopback; `fail` answers the next requests with these statuses, 0: after doing it, nothing. */
async function serveGithub() {
  const comments: Comment[] = []
  const asked: string[] = []
  const fail: number[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      asked.push(`${request.method} ${request.url}`)
      const status = fail.shift()
      const reply = (code: number, body: unknown) =>
        response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      if (request.headers.authorization !== 'Bearer gh-token') return reply(401, {})
      if (status !== undefined && status !== 0) return reply(status, {})
      if (request.method === 'GET') return reply(200, comments)
      const { body } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { body: string }
      const [, id] = /comments\/(\d+)$/.exec(request.url ?? '') ?? []
      const known = comments.find((one) => String(one.id) === id)
      if (request.method === 'PATCH' && known === undefined) return reply(404, {})
      const comment = known ?? { id: comments.length + 1, body }
      if (known === undefined) comments.push(comment)
      comment.body = body
      // As when the connection breaks after GitHub has done it.
      if (status === 0) return response.destroy()
      return reply(known === undefined ? 201 : 200, comment)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { comments, asked, fail, apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const ENTRY: NewInboxEntry = {
  key: 'gh:1',
  source: 'github',
  project: 'app',
  state: 'pending',
  title: 'octo/app#5',
  sender: 'octocat',
  task: {} as NewInboxEntry['task'],
  origin: { kind: 'github', repository: 'octo/app', number: 5 },
  reason: null,
}

async function stage(token = 'gh-token') {
  const github = await serveGithub()
  const home = temporaryHome()
  const db = openForTest(home.file)
  const store = createInboxStore(db)
  const state = { now: 1_000_000, task: { id: 't1', status: 'queued', result: null, error: null } as Task }
  const comments = createGithubComments({ apiUrl: github.apiUrl, token })
  const teller: Teller = async ({ key, toldRef }, text, mayExist, signal) => {
    const mark = `${OWN_MARK}${key} -->`
    const comment = { ref: toldRef, mark, mayExist, text: githubReply(text, mark) }
    return comments.write({ repository: 'octo/app', number: 5 }, comment, signal)
  }
  const start = () =>
    createReplies({
      store,
      queue: { get: async () => ({ ...state.task }) },
      tellers: { github: teller },
      redactor: createRedactor({ values: ['a-secret-of-the-user'], patterns: [] }),
      clock: () => state.now,
      random: () => 0.5,
      logger: pino({ level: 'silent' }),
    })
  const replies = start()
  onTestFinished(async () => {
    await replies.close()
    db.close()
    home[Symbol.dispose]()
  })
  store.accept([ENTRY], state.now)
  const become = (changes: Partial<Task>) => {
    Object.assign(state.task, changes)
    replies.onTask('t1')
  }
  return { ...github, store, state, replies, start, become }
}

const until = (look: () => void) => vi.waitFor(look, { timeout: 5000, interval: 5 })

test('one comment for a task, changed as it goes on, with its result', async () => {
  const { comments, asked, store, state, become } = await stage()
  store.setInserted(1, 't1', state.now)
  become({ status: 'running' })
  await until(() => expect(comments[0]?.body).toContain('Task t1: running.'))
  const result = { text: 'Fixed, @octocat.\n<!-- ccm:x --> a-secret-of-the-user' } as Task['result']
  become({ status: 'succeeded', result })
  await until(() => expect(comments[0]?.body).toContain('Task t1: succeeded.'))
  expect(comments).toHaveLength(1)
  expect(comments[0]?.body).toContain('> Fixed, @\u200boctocat.')
  expect(comments[0]?.body).not.toContain('a-secret-of-the-user')
  expect(comments[0]?.body.match(/<!--/g)).toHaveLength(1)
  expect(asked).toEqual(['POST /repos/octo/app/issues/5/comments', 'PATCH /repos/octo/app/issues/comments/1'])
})

test('what GitHub does not take is tried again with a wait, and the newest state is what arrives', async () => {
  const { comments, asked, fail, store, state, replies, become } = await stage()
  fail.push(502)
  store.setInserted(1, 't1', state.now)
  become({ status: 'running' })
  await until(() => expect(asked).toHaveLength(1))
  await until(() => expect(store.dueTells(state.now, 9)).toEqual([]))
  replies.nudge()
  state.task.status = 'failed'
  state.now += 10_000
  replies.nudge()
  await until(() => expect(comments[0]?.body).toContain('Task t1: failed.'))
  expect(comments).toHaveLength(1)
})

test('a comment whose answer was lost is found again and not written twice', async () => {
  const { comments, asked, fail, store, state, replies, become } = await stage()
  fail.push(0)
  store.setInserted(1, 't1', state.now)
  become({ status: 'running' })
  await until(() => expect(comments).toHaveLength(1))
  await until(() => expect(store.dueTells(state.now, 9)).toEqual([]))
  state.task.status = 'succeeded'
  state.now += 10_000
  replies.nudge()
  await until(() => expect(comments[0]?.body).toContain('succeeded'))
  expect(comments).toHaveLength(1)
  expect(asked.map((line) => line.split(' ')[0])).toEqual(['POST', 'GET', 'PATCH'])
})

test('where somebody deleted the comment the result comes in another, once', async () => {
  const { comments, asked, fail, store, state, replies, become } = await stage()
  store.setInserted(1, 't1', state.now)
  become({ status: 'running' })
  await until(() => expect(comments).toHaveLength(1))
  comments[0] = { id: 7, body: 'Of somebody else' }
  // It is deleted, another is written, and the answer about that is lost.
  fail.push(404, 0)
  become({ status: 'succeeded' })
  await until(() => expect(asked).toHaveLength(3))
  await until(() => expect(store.dueTells(state.now, 9)).toEqual([]))
  state.now += 10_000
  replies.nudge()
  await until(() => expect(asked).toHaveLength(6))
  await until(() => expect(store.dueTells(state.now + 86_400_000, 9)).toEqual([]))
  expect(comments.map(({ body }) => body.split('\n')[0])).toEqual(['Of somebody else', 'Task t1: succeeded.'])
  expect(asked.map((line) => line.split(' ')[0])).toEqual(['POST', 'PATCH', 'POST', 'PATCH', 'GET', 'PATCH'])
})

test('a token that GitHub refuses is not tried for half a day', async () => {
  const { asked, store, state, replies, become } = await stage('wrong')
  store.setInserted(1, 't1', state.now)
  become({ status: 'running' })
  await until(() => expect(asked).toHaveLength(1))
  await until(() => expect(store.dueTells(state.now + 86_400_000, 9)).toEqual([]))
  state.now += 86_400_000
  replies.nudge()
  expect(asked).toHaveLength(1)
})

const CHAT = { kind: 'telegram', chat: '1' } as const

test('the token goes to no other address, and no error holds one', async () => {
  const asked: string[] = []
  const elsewhere = createServer((request, response) => {
    asked.push(String(request.headers.authorization))
    response.writeHead(201, { 'content-type': 'application/json' }).end('{"id":1}')
  })
  const server = createServer((_request, response) => {
    const { port } = elsewhere.address() as AddressInfo
    response.writeHead(307, { location: `http://127.0.0.1:${port}/` }).end()
  })
  for (const one of [elsewhere, server])
    await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a-secret-path`
  const write = async () =>
    createGithubComments({ apiUrl: url, token: 'gh-token' }).write(
      { repository: 'octo/app', number: 5 },
      { ref: null, mark: '', mayExist: false, text: 'x' },
      AbortSignal.timeout(5000),
    )
  expect(await write()).toMatchObject({ failed: 'GitHub answered HTTP 307.', hopeless: false })
  expect(asked).toEqual([])
  for (const one of [elsewhere, server]) {
    one.closeAllConnections()
    await new Promise((resolve) => one.close(resolve))
  }
  expect(await write()).toMatchObject({ failed: 'GitHub could not be reached: ECONNREFUSED.' })
})

test('whoever asked is told why a request was refused', () => {
  const refused = { id: 7, state: 'refused', reason: 'Not here.', decidedBy: 'local' } as const
  for (const origin of [CHAT, ENTRY.origin])
    expect(replyText({ ...refused, origin }, null)).toBe('Request 7 was refused. Not here.')
  expect(replyText({ ...refused, state: 'pending', reason: null, origin: CHAT }, null)).toContain('accepted')
})

test('what is wrong with this machine is told in a chat and not on GitHub, an error of the agent on both', () => {
  const reason = 'There is no directory "/home/ada/app".'
  const refused = { id: 7, state: 'refused', reason, decidedBy: null } as const
  expect(replyText({ ...refused, origin: CHAT }, null)).toBe(`Request 7 was refused. ${reason}`)
  expect(replyText({ ...refused, origin: ENTRY.origin }, null)).toBe('Request 7 was refused.')
  const inserted = { ...refused, state: 'inserted', reason: null } as const
  const error = 'The setup of the project failed.\nnpm error path /home/ada/app'
  const failed = (kind: string) =>
    ({
      id: 't1',
      status: 'failed',
      error,
      result: { text: '', errors: [{ kind, message: error, at: 1 }] },
    }) as never
  expect(replyText({ ...inserted, origin: CHAT }, failed('setup'))).toContain('/home/ada')
  expect(replyText({ ...inserted, origin: ENTRY.origin }, failed('setup'))).toBe(
    'Task t1: failed.\nWhy: ccm show t1',
  )
  expect(replyText({ ...inserted, origin: ENTRY.origin }, failed('agent_error'))).toContain(error)
})

test('why ccm itself refused a request is not taken for the word of whoever approved it', async () => {
  const { comments, store, state, replies } = await stage()
  store.accept([{ ...ENTRY, key: 'gh:2', state: 'waiting' }], state.now)
  store.approve(2, 'local', state.now)
  store.refuse(2, 'There is no directory "/home/ada/app".', null, state.now)
  replies.nudge()
  await until(() => expect(comments[0]?.body).toContain('Request 2 was refused.'))
  expect(comments[0]?.body).not.toContain('/home/ada')
})
