import { expect, test } from 'vitest'
import { createApp } from '../../src/http/app.ts'
import { createStoredTemplates } from '../../src/store/templates.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createApp as createCheckedApp } from './checked-app.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'
import { REVIEW, fakeTemplates } from './fake-inbox.ts'

function stage(changes: Partial<typeof REVIEW> = {}) {
  const daemon = createFakeDaemon({ templates: fakeTemplates([{ ...REVIEW, ...changes }]) })
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

test('templates of the database are added, replaced, used and removed, and outlive the daemon', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const daemon = createFakeDaemon({
    templates: fakeTemplates([REVIEW], { stored: createStoredTemplates(db, () => 1) }),
  })
  const app = createCheckedApp(daemon.deps)
  const ask = async (method: string, path: string, body?: object, key = 'right-token') => {
    const headers = rightful({ 'content-type': 'application/json', authorization: `Bearer ${key}` })
    const reply = await app.request(path, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> }
  }
  const greet = { prompt: 'Say {{what}} to {{who}}.', variables: { who: {}, what: { default: 'hello' } } }

  expect(await ask('POST', '/api/templates', { name: 'greet', ...greet })).toMatchObject({
    status: 201,
    body: { stored_in: 'database', variables: { who: { type: 'text', required: true, default: null } } },
  })
  expect((await ask('POST', '/api/templates', { name: 'greet', ...greet })).status).toBe(409)
  expect((await ask('PUT', '/api/templates/greet', { ...greet, model: 'opus' })).body).toMatchObject({
    model: 'opus',
  })
  const again = createStoredTemplates(db, () => 2).list()
  expect(again).toMatchObject([{ name: 'greet', model: 'opus', permissionMode: null, restricted: false }])

  const task = { project: 'app', template: 'greet', variables: { who: 'Ada' } }
  expect((await ask('POST', '/api/tasks', task)).status).toBe(201)
  expect(daemon.calls).toEqual([
    ['insert', expect.objectContaining({ prompt: 'Say hello to Ada.', model: 'opus' })],
  ])

  // What nobody could use is refused, with the reason.
  expect(await ask('PUT', '/api/templates/greet', { prompt: 'Say {{why}}.' })).toMatchObject({
    status: 400,
    body: { detail: expect.stringContaining('{{why}}, which is none of its variables') },
  })
  expect(await ask('POST', '/api/templates', { name: 'Big One', prompt: 'x' })).toMatchObject({
    status: 400,
    body: { field: 'name' },
  })
  expect((await ask('PUT', '/api/templates/x%20y', { prompt: 'x' })).status).toBe(400)
  // A key that may start tasks cannot write what others' tasks are made of.
  expect((await ask('PUT', '/api/templates/greet', greet, 'write-key')).status).toBe(403)

  expect((await ask('DELETE', '/api/templates/greet')).status).toBe(200)
  expect((await ask('GET', '/api/templates/greet')).status).toBe(404)
  expect((await ask('DELETE', '/api/templates/greet')).status).toBe(404)
  db.close()
})

test('a template of the configuration goes before one of the database, and is not changed through the API', async () => {
  const daemon = createFakeDaemon()
  daemon.deps.templates.stored.put({ ...REVIEW, prompt: 'Something else.', variables: {} })
  const app = createCheckedApp(daemon.deps)
  const ask = async (method: string, path: string, body?: object) => {
    const headers = rightful({ 'content-type': 'application/json' })
    const reply = await app.request(path, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    return { status: reply.status, body: await reply.json() }
  }
  expect((await ask('GET', '/api/templates')).body).toMatchObject([
    { name: 'review', stored_in: 'file', prompt: REVIEW.prompt },
  ])
  expect((await ask('POST', '/api/templates', { name: 'review', prompt: 'x' })).status).toBe(409)
  expect((await ask('PUT', '/api/templates/review', { prompt: 'x' })).status).toBe(409)
  expect(await ask('DELETE', '/api/templates/review')).toMatchObject({
    status: 409,
    body: { remedy: expect.stringContaining('ccm.toml') },
  })
})

/** As many rights as there are, under the given name. */
const greedy = (name: string, more: Partial<typeof REVIEW> = {}) => ({
  ...REVIEW,
  name,
  prompt: `From ${name}.`,
  variables: {},
  permissionMode: 'bypassPermissions' as const,
  allowedTools: ['Bash', 'Bash(npm test:*)'],
  ...more,
})

async function insertedBy(templates: ReturnType<typeof fakeTemplates>, body: object) {
  const { deps, calls } = createFakeDaemon({ templates })
  const reply = await createCheckedApp(deps).request('/api/tasks', {
    method: 'POST',
    headers: rightful({ 'content-type': 'application/json' }),
    body: JSON.stringify({ project: 'app', ...body }),
  })
  expect(reply.status).toBe(201)
  return calls[0]?.[1]
}

test('a template of Supabase gives a task no more than this machine allows its project, whoever asks', async () => {
  const templates = fakeTemplates([], { supabase: [greedy('all')] })
  expect(await insertedBy(templates, { template: 'all' })).toMatchObject({
    prompt: 'From all.',
    permissionMode: 'acceptEdits',
    allowedTools: ['Bash(npm test:*)'],
  })
  // What the administrator of this machine asks for beside it is not the template's.
  expect(
    await insertedBy(templates, {
      template: 'all',
      permission_mode: 'bypassPermissions',
      allowed_tools: ['Write'],
    }),
  ).toMatchObject({ permissionMode: 'bypassPermissions', allowedTools: ['Bash(npm test:*)', 'Write'] })
})

test('a restricted template of a database has the rights of [outside], one of a file its own tools', async () => {
  const restricted = greedy('all', { restricted: true, allowedTools: ['Bash', 'Bash(npm test:*)'] })
  const stored = createFakeDaemon().deps.templates.stored
  stored.put(restricted)
  for (const templates of [fakeTemplates([], { supabase: [restricted] }), fakeTemplates([], { stored })])
    expect(await insertedBy(templates, { template: 'all' })).toMatchObject({
      permissionMode: 'dontAsk',
      allowedTools: ['Bash(npm test:*)'],
      source: 'api-restricted',
    })
  expect(await insertedBy(fakeTemplates([restricted]), { template: 'all' })).toMatchObject({
    allowedTools: ['Bash', 'Bash(npm test:*)'],
    source: 'api-restricted',
  })
})

test('of templates with one name the file counts, then the database, then Supabase; what is hidden is told', async () => {
  const stored = createFakeDaemon().deps.templates.stored
  for (const name of ['review', 'both']) stored.put(greedy(name))
  const supabase = ['review', 'both', 'far'].map((name) => greedy(name))
  const { deps } = createFakeDaemon({ templates: fakeTemplates([REVIEW], { stored, supabase }) })
  const app = createCheckedApp(deps)
  const headers = rightful({ 'content-type': 'application/json' })
  const list = await app.request('/api/templates', { headers })
  expect(await list.json()).toMatchObject([
    { name: 'both', stored_in: 'database', hides: ['supabase'] },
    { name: 'far', stored_in: 'supabase', hides: [] },
    { name: 'review', stored_in: 'file', hides: ['database', 'supabase'], prompt: REVIEW.prompt },
  ])
  const remove = async (name: string) => {
    const reply = await app.request(`/api/templates/${name}`, { method: 'DELETE', headers })
    return { status: reply.status, body: await reply.json() }
  }
  expect(await remove('far')).toMatchObject({
    status: 409,
    body: { detail: 'The template far stands in Supabase.' },
  })
  expect((await remove('both')).status).toBe(200)
  // The one below counts now.
  expect(await (await app.request('/api/templates/both', { headers })).json()).toMatchObject({
    stored_in: 'supabase',
    hides: [],
  })
})
