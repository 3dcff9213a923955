import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { createRedactor } from '../../src/core/redact.ts'
import { createOutside } from '../../src/daemon/outside.ts'
import { readSecrets } from '../../src/daemon/secrets.ts'
import { createTelegramDesk } from '../../src/daemon/telegram-desk.ts'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import { createAlertEnds } from '../../src/store/alert-ends.ts'
import { createInboxStore } from '../../src/store/inbox.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { TELEGRAM_TOKEN, message, serveFakeTelegram } from '../telegram/fake-telegram.ts'
import { createApp } from './checked-app.ts'
import { createFakeDaemon, PORT, TOKEN } from './fake-daemon.ts'
import { ROUTES } from './route-table.ts'

type Service = 'github' | 'prometheus' | 'telegram'

const bodyOf = (name: Service) => ROUTES.find(([, path]) => path === `/webhook/${name}`)?.[3].body
const BODIES: Record<Service, string> = {
  github: JSON.stringify(bodyOf('github')),
  prometheus: JSON.stringify(bodyOf('prometheus')),
  telegram: JSON.stringify({ update_id: 5, ...message(42, '/run Fix it') }),
}
const SERVICES = ['github', 'prometheus', 'telegram'] as const

const RULES = `[[github.rules]]
repository = "*"
project = "app"
[[alertmanager.rules]]
match = {}
project = "app"
`

/** What a daemon with this configuration makes of its webhooks: all but the tasks that come of them. */
async function stage(toml: (telegram: string) => string, env: Record<string, string> = {}) {
  const telegram = await serveFakeTelegram()
  const folder = mkdtempSync(join(tmpdir(), 'ccm-hooks-'))
  const home = temporaryHome()
  const file = join(folder, 'ccm.toml')
  writeFileSync(file, `${toml(telegram.url)}${RULES}`, { mode: 0o600 })
  const db = openForTest(home.file)
  onTestFinished(async () => {
    await telegram.close()
    db.close()
    home[Symbol.dispose]()
    rmSync(folder, { recursive: true, force: true })
  })
  const from = { HOME: folder, PATH: process.env['PATH'], CCM_CONFIG: file, ...env }
  const { config, outside: secrets } = await readSecrets(loadConfig(from, folder), from)
  const logger = pino({ level: 'silent' })
  const redactor = createRedactor({ values: [], patterns: [] })
  const store = createInboxStore(db)
  const shared = { config, secrets, redactor, logger, clock: Date.now }
  const outside = createOutside({
    ...shared,
    store,
    alertEnds: createAlertEnds(db),
    queue: createSqliteQueue({ db, system: 's', worker: 'w', clock: Date.now, random: () => 0.5 }),
    insert: () => Promise.reject(new Error('nothing is to come of it here')),
    supervisor: { cancel: async () => 'cancelled', subscribe: () => () => undefined },
    isFar: false,
  })
  const { deps } = createFakeDaemon({ webhooks: outside.webhooks })
  await deps.projects.add({ dir: '/code/app', name: 'app', trust: true })
  const desk = await createTelegramDesk({
    ...shared,
    config: config.telegram,
    deps,
    attach: outside.attach,
    subscribe: deps.subscribe,
  })
  onTestFinished(async () => {
    await desk?.close()
    await outside.close()
  })
  const app = createApp(deps)
  const post = async (service: Service, headers: Record<string, string>) => {
    const reply = await app.request(`/webhook/${service}`, {
      method: 'POST',
      body: BODIES[service],
      headers: { host: `127.0.0.1:${PORT}`, 'content-type': 'application/json', ...HEADERS, ...headers },
    })
    return reply.status
  }
  return { post, stored: () => store.list({ state: null, limit: 9 }) }
}

const HEADERS = { 'x-github-event': 'issues', 'x-github-delivery': 'd' }
const signed = (secret: string) => ({
  'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(BODIES.github).digest('hex')}`,
})
const basic = (pair: string) => ({ authorization: `Basic ${Buffer.from(pair).toString('base64')}` })
const bot = (secret: string) => ({ 'x-telegram-bot-api-secret-token': secret })

/** What somebody would send who hopes that nothing, or the name of nothing, is the secret. */
const HOPES: Record<Service, Record<string, string>[]> = {
  github: [
    {},
    signed(' '),
    signed('wrong'),
    { 'x-hub-signature-256': '' },
    { 'x-hub-signature-256': 'sha256=' },
  ],
  prometheus: [
    {},
    { authorization: '' },
    { authorization: 'Bearer' },
    { authorization: 'Bearer ' },
    { authorization: 'Bearer null' },
    { authorization: 'Bearer wrong' },
    ...['', ':', 'alertmanager', 'alertmanager:', 'alertmanager:null', 'alertmanager:wrong'].map(basic),
  ],
  telegram: [{}, bot(''), bot(' '), bot('null'), bot('undefined'), bot('wrong')],
}

const telegram = (url: string) => `api_url = "${url}"\nchats = [42]\nproject = "app"\n`
const HOOK = 'url = "https://ccm.example/webhook/telegram"'

test.each<[string, (url: string) => string]>([
  ['none is set', () => ''],
  [
    'each is an empty text',
    (url) =>
      `[github]\nsecret = ""\n[alertmanager]\ntoken = ""\npassword = ""\n[telegram]\n${HOOK}\ntoken = ""\nsecret = ""\n${telegram(url)}`,
  ],
  [
    'a bot has no token but the secret of its webhook',
    (url) => `[telegram]\n${HOOK}\nsecret = "s"\n${telegram(url)}`,
  ],
  [
    'a bot asks for its updates',
    (url) => `[telegram]\ntoken = "${TELEGRAM_TOKEN}"\nsecret = "s"\n${telegram(url)}`,
  ],
])('where %s there is no route, whatever is sent, and nothing is stored', async (_, toml) => {
  const { post, stored } = await stage(toml)
  for (const service of SERVICES)
    for (const headers of [...HOPES[service], { authorization: `Bearer ${TOKEN}` }, bot('s')])
      expect([service, headers, await post(service, headers)]).toEqual([service, headers, 404])
  expect(stored()).toEqual([])
})

const SET = (url: string) => `[github]
secret = "of-github"
[alertmanager]
token = "of-am"
password = "pass"
[telegram]
${HOOK}
token = "${TELEGRAM_TOKEN}"
secret = "of-tg"
${telegram(url)}`

test.each<[Service, string, (url: string) => string, Record<string, string>[], number]>([
  ['github', 'its secret', SET, [signed('of-github')], 202],
  [
    'prometheus',
    'token and password',
    SET,
    [{ authorization: 'Bearer of-am' }, basic('alertmanager:pass')],
    202,
  ],
  [
    'prometheus',
    'a token',
    () => '[alertmanager]\ntoken = "of-am"\n',
    [{ authorization: 'Bearer of-am' }],
    202,
  ],
  [
    'prometheus',
    'a password',
    () => '[alertmanager]\npassword = "pass"\n',
    [basic('alertmanager:pass')],
    202,
  ],
  ['telegram', 'its secret', SET, [bot('of-tg')], 200],
])(
  '/webhook/%s with %s takes that and nothing else, and stores nothing else',
  async (service, _, toml, good, status) => {
    const { post, stored } = await stage(toml)
    for (const headers of [...HOPES[service], { authorization: `Bearer ${TOKEN}` }])
      expect([headers, await post(service, headers)]).toEqual([headers, 401])
    expect(stored()).toEqual([])
    expect(await post(service, good[0] ?? {})).toBe(status)
    expect(stored()).toHaveLength(1)
    // Good as well, though there is nothing new in it.
    for (const headers of good.slice(1)) expect(await post(service, headers)).toBe(200)
  },
)

test('a bot whose webhook has no secret gets one that nobody can guess', async () => {
  const { post, stored } = await stage(
    (url) => `[telegram]\n${HOOK}\ntoken = "${TELEGRAM_TOKEN}"\n${telegram(url)}`,
  )
  for (const headers of HOPES.telegram)
    expect([headers, await post('telegram', headers)]).toEqual([headers, 401])
  expect(stored()).toEqual([])
})

test.each([
  ['github', 'secret'],
  ['alertmanager', 'token'],
  ['alertmanager', 'password'],
  ['telegram', 'secret'],
])('[%s] %s that is empty where it should come from is refused at the start', async (section, key) => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-empty-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'empty'), '\n', { mode: 0o600 })
  for (const source of [
    '{ env = "EMPTY" }',
    '{ env = "UNSET" }',
    `{ file = "${folder}/empty" }`,
    '{ command = ["true"] }',
  ])
    await expect(stage(() => `[${section}]\n${key} = ${source}\n`, { EMPTY: '' })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining(`${section}.${key}`),
    })
})
