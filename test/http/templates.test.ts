import { expect, test } from 'vitest'
import { createApp } from '../../src/http/app.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'
import { REVIEW } from './fake-inbox.ts'

function stage(changes: Partial<typeof REVIEW> = {}) {
  const daemon = createFakeDaemon({ templates: [{ ...REVIEW, ...changes }] })
  const app = createApp(daemon.deps)
  const add = async (body: object, key = 'right-token') => {
    const reply = await app.request('/api/tasks', {
      method: 'POST',
      headers: rightful({ 'content-type': 'application/json', authorization: `Bearer ${key}` }),
      body: JSON.stringify({ project: 'app', ...body }),
    })
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> }
  }
  return { ...daemon, add }
}

test('a task from a template has its prompt, its limits and its tools, and what the caller sets goes over them', async () => {
  const { add, calls } = stage()
  expect(
    (await add({ template: 'review', variables: { branch: 'fix {{depth}}' }, timeout_s: 60 })).status,
  ).toBe(201)
  expect(calls).toEqual([
    [
      'insert',
      expect.objectContaining({
        prompt: 'Review fix {{depth}}, quick.',
        permissionMode: 'plan',
        allowedTools: ['Bash(git log:*)'],
        timeoutS: 60,
        source: 'api',
      }),
    ],
  ])
})

test('unknown templates, unknown and missing variables are said, and nothing is added', async () => {
  const { add, calls } = stage()
  expect((await add({ template: 'reviev' })).body).toMatchObject({
    status: 404,
    detail: 'There is no template reviev; did you mean review?',
  })
  expect((await add({ template: 'review', variables: { brunch: 'x', depth: 'very' } })).body).toMatchObject({
    status: 400,
    detail: expect.stringMatching(/no variable "brunch".*needs the variable branch.*one of quick, deep/),
    remedy: 'See: ccm templates show review',
  })
  expect((await add({ template: 'review', prompt: 'x' })).body).toMatchObject({
    field: 'prompt',
    status: 400,
  })
  expect((await add({ prompt: 'x', variables: { a: 'b' } })).status).toBe(400)
  expect(calls).toEqual([])
})

test('a restricted template restricts the task of whoever asks for it', async () => {
  const { add, calls } = stage({ restricted: true })
  await add({ template: 'review', variables: { branch: 'x' }, source: 'cli' })
  expect(calls[0]).toEqual(['insert', expect.objectContaining({ source: 'cli-restricted' })])
})

test("a template's tools are its owner's word, the caller's own are not", async () => {
  const { add } = stage()
  const variables = { branch: 'x' }
  expect((await add({ template: 'review', variables }, 'write-key')).status).toBe(201)
  expect((await add({ template: 'review', variables, allowed_tools: ['Bash'] }, 'write-key')).status).toBe(
    403,
  )
})

test('templates are listed and shown', async () => {
  const { deps } = stage()
  const app = createApp(deps)
  const get = async (path: string) => {
    const reply = await app.request(path, { headers: rightful() })
    return reply.json()
  }
  expect(await get('/api/templates')).toMatchObject([{ name: 'review', permission_mode: 'plan' }])
  expect(await get('/api/templates/review')).toMatchObject({
    variables: { depth: { type: 'choice', default: 'quick', choices: ['quick', 'deep'] } },
  })
})
