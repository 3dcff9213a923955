import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type Notice, noticeText, noticeTitle } from '../../src/core/incident/incident.ts'
import { createNotifiers } from '../../src/notify/notifiers.ts'
import { serveReceiver } from './receiver.ts'

const NONE = { command: [], webhook: null, ntfy: null, telegram: null }

function noticeOf(more: Partial<Notice['incident']> = {}, phase: Notice['phase'] = 'opened'): Notice {
  const incident = {
    id: 7,
    kind: 'breaker' as const,
    key: 'breaker:fleet',
    what: 'Nothing is begun: “$(touch owned)”.',
    evidence: 'exit 3\x1b[31m`touch owned`',
    action: 'See: ccm incidents',
    alert: true,
    taskId: 't1',
    attempt: 2,
    openedAt: 0,
    closedAt: null,
    ...more,
  }
  return { id: 1, incident, phase, tries: 0 }
}

const inTime = () => AbortSignal.timeout(5000)

async function only(settings: Partial<Parameters<typeof createNotifiers>[0]>, notice = noticeOf()) {
  const [notifier] = createNotifiers({ ...NONE, ...settings })
  if (notifier === undefined) throw new Error('none is configured')
  return notifier.send(notice, inTime())
}

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'ccm-notify-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

test('a command gets the message on stdin and its parts in its environment; nothing of it is run', async () => {
  const dir = folder()
  const file = join(dir, 'tell.sh')
  writeFileSync(file, `cd ${dir}\ncat > stdin\nenv > environment\n`)
  expect(await only({ command: ['/bin/sh', file] })).toBe('sent')
  const stdin = readFileSync(join(dir, 'stdin'), 'utf8')
  expect(stdin.split('\n')[0]).toBe('ccm: Nothing is begun: “$(touch owned)”.')
  // A terminal that shows it is not steered.
  expect(stdin).toContain('exit 3 [31m`touch owned`')
  const environment = readFileSync(join(dir, 'environment'), 'utf8')
  expect(environment).toContain('CCM_ALERT_PHASE=opened')
  expect(environment).toContain('CCM_ALERT_TITLE=ccm: Nothing is begun: “$(touch owned)”.')
  expect(existsSync(join(dir, 'owned'))).toBe(false)
})

test('a command that fails, is missing, or does not end has not delivered', async () => {
  expect(await only({ command: ['/bin/sh', '-c', 'exit 3'] })).toEqual({
    failed: 'It ended with status 3.',
    retryAfterMs: null,
  })
  expect(await only({ command: ['/nonexistent/program'] })).toMatchObject({
    failed: expect.stringContaining('ENOENT'),
  })
  const [notifier] = createNotifiers({ ...NONE, command: ['sleep', '1000'] })
  const from = performance.now()
  expect(await notifier?.send(noticeOf(), AbortSignal.timeout(200))).toMatchObject({
    failed: 'It did not end in time.',
  })
  expect(performance.now() - from).toBeLessThan(10_000)
})

test('a webhook gets JSON under one id for the same message, and only 2xx is delivery', async () => {
  await using receiver = await serveReceiver((count) =>
    count === 1 ? { status: 503, headers: { 'retry-after': '120' } } : {},
  )
  const webhook = `${receiver.url}/hook?key=hush`
  expect(await only({ webhook })).toEqual({ failed: 'It answered HTTP 503.', retryAfterMs: 120_000 })
  expect(await only({ webhook })).toBe('sent')
  const [first, second] = receiver.received
  expect(second?.body).toMatchObject({
    id: 7,
    phase: 'opened',
    kind: 'breaker',
    task_id: 't1',
    closed_at: null,
  })
  expect(first?.headers['idempotency-key']).toBe('ccm-7-opened')
  expect(second?.headers['idempotency-key']).toBe('ccm-7-opened')
})

test('a date in Retry-After counts from the date of the answer', async () => {
  const headers = {
    'retry-after': 'Sun, 06 Nov 1994 08:51:37 GMT',
    date: 'Sun, 06 Nov 1994 08:49:37 GMT',
  }
  await using receiver = await serveReceiver(() => ({ status: 503, headers }))
  expect(await only({ webhook: receiver.url })).toMatchObject({ retryAfterMs: 120_000 })
})

test('a redirect is not followed and an error names no secret', async () => {
  await using receiver = await serveReceiver(() => ({ status: 302, headers: { location: '/elsewhere' } }))
  expect(await only({ webhook: `${receiver.url}/hook` })).toMatchObject({ failed: 'It answered HTTP 302.' })
  expect(receiver.received).toHaveLength(1)
  for (const webhook of ['http://127.0.0.1:1/hook?key=hush', 'http://user:hush@127.0.0.1:1/']) {
    const sent = await only({ webhook })
    expect(sent).not.toBe('sent')
    expect(JSON.stringify(sent)).not.toContain('hush')
  }
})

test('a receiver that never answers is given up at the signal', async () => {
  await using receiver = await serveReceiver(() => 'hang')
  const [notifier] = createNotifiers({ ...NONE, webhook: receiver.url })
  expect(await notifier?.send(noticeOf(), AbortSignal.timeout(200))).toEqual({
    failed: 'It could not be reached: no answer in time.',
    retryAfterMs: null,
  })
})

test('ntfy gets topic, title and text as JSON with its token', async () => {
  await using receiver = await serveReceiver(() => ({}))
  const ntfy = { topicUrl: `${receiver.url}/base/my-topic`, token: 'tk_hush' }
  expect(await only({ ntfy }, noticeOf({ closedAt: 65_000 }, 'resolved'))).toBe('sent')
  expect(receiver.received).toMatchObject([
    {
      path: '/base/',
      headers: { authorization: 'Bearer tk_hush' },
      body: { topic: 'my-topic', title: expect.stringMatching(/^ccm, resolved: /), priority: 3 },
    },
  ])
  expect(receiver.received[0]?.body['message']).toContain('It lasted 65 s')
})

test('Telegram: plain text to one chat; only ok is delivery, and its wait is kept', async () => {
  await using receiver = await serveReceiver((count) => {
    if (count === 1) return { status: 429, body: { ok: false, parameters: { retry_after: 30 } } }
    return { body: { ok: count === 3 } }
  })
  const telegram = { baseUrl: `${receiver.url}/`, token: '1:hush', chat: '-100' }
  expect(await only({ telegram })).toEqual({ failed: 'It answered HTTP 429.', retryAfterMs: 30_000 })
  expect(await only({ telegram })).not.toBe('sent')
  expect(await only({ telegram }, noticeOf({ evidence: 'x'.repeat(10_000) }))).toBe('sent')
  expect(receiver.received[2]?.path).toBe('/bot1:hush/sendMessage')
  const { chat_id, text, parse_mode } = receiver.received[2]?.body ?? {}
  expect({ chat_id, parse_mode }).toEqual({ chat_id: '-100', parse_mode: undefined })
  expect(String(text).length).toBeLessThanOrEqual(4000)
})

test('a title is one line of bounded length', () => {
  const notice = noticeOf({ what: `a\nb\r\n${'c'.repeat(1000)}` })
  expect(noticeTitle(notice)).toMatch(/^ccm: a b c+…$/)
  expect(noticeTitle(notice).length).toBeLessThanOrEqual(250)
  expect(noticeText(notice)).toContain('Since 1970-01-01T00:00:00.000Z.')
})
