import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { withSupabase } from '../../src/cli/supabase-init.ts'
import { loadConfig } from '../../src/config/load.ts'
import { checkSupabase, NEWEST_MIGRATION } from '../../src/queue/supabase/check.ts'
import { pino } from 'pino'
import { createCommandLine } from '../cli/command-line.ts'
import { openGateway, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'

const logger = pino({ level: 'silent' })
const ACCESS = { url: 'https://ref.supabase.co', secretKey: 'sb_secret_"x"', system: 'team' }

test('the settings of the shared queue are put into a file that keeps all else', () => {
  expect(withSupabase('', ACCESS)).toBe(
    '[supabase]\nurl = "https://ref.supabase.co"\nsecret_key = "sb_secret_\\"x\\""\nsystem = "team"\n',
  )
  const old = '# mine\n[supabase] # old\nurl = "https://a"\nlabels = ["gpu"]\nsystem="x"\n[http]\nport = 1\n'
  expect(withSupabase(old, ACCESS)).toBe(
    '# mine\n[supabase] # old\nurl = "https://ref.supabase.co"\nsecret_key = "sb_secret_\\"x\\""\nsystem = "team"\nlabels = ["gpu"]\n[http]\nport = 1\n',
  )
})

describeOnSupabase('ccm supabase init', (supabase) => {
  let gateway: TestGateway
  let folder = ''
  beforeAll(async () => {
    gateway = await openGateway(supabase())
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ccm-init-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const init = async (more: { url?: string; key?: string; args?: string[] } = {}) => {
    const env = { HOME: folder, CCM__SUPABASE__SECRET_KEY: more.key ?? supabase().secretKey }
    return createCommandLine(folder, { env, cwd: folder }).ccm(
      'supabase',
      'init',
      '--url',
      more.url ?? gateway.url,
      '--system',
      'team',
      ...(more.args ?? []),
    )
  }
  test('machines that are set up at once do not take each other for a fault', async () => {
    const ends = await Promise.all([init(), init(), init()])
    expect(ends.map(({ code, stdout }) => [code, /trial .*/.exec(stdout)?.[0]])).toEqual(
      ends.map(() => [0, expect.stringContaining('and finished')]),
    )
  })

  const undo = async <T>(change: string, back: string, work: () => Promise<T>): Promise<T> => {
    await supabase().asAdmin(change)
    try {
      return await work()
    } finally {
      await supabase().asAdmin(back)
    }
  }

  test('a good project: every step is told, a task goes through, the file is 0600 and valid', async () => {
    const { code, stdout } = await init()
    expect(stdout).toMatch(
      /ok +url [^]*ok +key [^]*ok +tables [^]*ok +system [^]*ok +realtime [^]*ok +trial +a task was inserted, heard of by Realtime, claimed after \d+ ms and finished/,
    )
    expect(code).toBe(0)
    const file = join(folder, '.config/ccm/ccm.toml')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const config = loadConfig({ CCM_CONFIG: file, HOME: folder }, folder)
    expect(config.supabase).toMatchObject({
      url: gateway.url,
      secretKey: supabase().secretKey,
      system: 'team',
    })
    expect(stdout).not.toContain(supabase().secretKey)
    expect(await supabase().sql(`SELECT id FROM tasks WHERE system_id = 'team'`)).toEqual([])
    expect(await supabase().sql(`SELECT name FROM projects WHERE system_id = 'team'`)).toEqual([])
    expect((await init()).code).toBe(0)
  })

  test('a trial that another one interrupted between its claim and its report leaves no task behind', async () => {
    let reports = 0
    gateway.faultOf = (name) => {
      if (name !== 'task_finish_many' || ++reports > 1) return null
      return async (_response, pass) => {
        await supabase().sql(`SELECT worker_register('team', 'ccm-check', '{}')`)
        await pass()
      }
    }
    try {
      expect(await init()).toMatchObject({ code: 0 })
    } finally {
      gateway.faultOf = () => null
    }
    expect(reports).toBeGreaterThan(1)
    expect(await supabase().sql(`SELECT id, status FROM tasks WHERE system_id = 'team'`)).toEqual([])
  })

  test('a file that others could read is only its owner’s afterwards, and keeps its other tables', async () => {
    const file = join(folder, 'ccm.toml')
    writeFileSync(file, '[http]\nport = 0\n', { mode: 0o644 })
    const env = { HOME: folder, CCM_CONFIG: file, CCM__SUPABASE__SECRET_KEY: supabase().secretKey }
    const line = createCommandLine(folder, { env, cwd: folder, config: { file } })
    expect(await line.ccm('supabase', 'init', '--url', gateway.url, '--json')).toMatchObject({ code: 0 })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).toMatch(/^\[http\]\nport = 0\n\n\[supabase\]\n/)
  })

  const fails = async (given: Parameters<typeof init>[0], message: RegExp, remedy: RegExp) => {
    const { code, stdout, stderr } = await init(given)
    expect(stdout + stderr).toMatch(message)
    expect(stdout + stderr).toMatch(remedy)
    expect(code).not.toBe(0)
    expect(() => statSync(join(folder, '.config/ccm/ccm.toml'))).toThrow('ENOENT')
    return code
  }

  test('the publishable key is told as such, without asking anybody', async () => {
    gateway.calls.length = 0
    await expect(
      fails({ key: supabase().publishableKey }, /FAILED +key +This is the publishable key/, /sb_secret_/),
    ).resolves.toBe(1)
    await expect(fails({ key: 'hello' }, /This is no key of Supabase/, /sb_secret_/)).resolves.toBe(1)
    const anon = `x.${Buffer.from('{"role":"anon"}').toString('base64url')}.x`
    await expect(fails({ key: anon }, /key of the role anon/, /sb_secret_/)).resolves.toBe(1)
    expect(gateway.calls).toEqual([])
  })

  test('a revoked key', async () => {
    await expect(
      fails({ key: 'sb_secret_revoked' }, /FAILED +key +Supabase refuses the key/, /expired or revoked/),
    ).resolves.toBe(1)
  })

  test('a key that has expired', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const key = `${part({ alg: 'HS256' })}.${part({ role: 'service_role', exp: 1 })}.x`
    gateway.faultOf = () => (response) => {
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end('{"code":"PGRST303","details":null,"hint":null,"message":"JWT expired"}')
    }
    try {
      await expect(
        fails({ key }, /FAILED +key +Supabase refuses the key: JWT expired/, /expired or revoked/),
      ).resolves.toBe(1)
    } finally {
      gateway.faultOf = () => null
    }
  })

  test('a URL where nobody answers, and one where something else does', async () => {
    await expect(
      fails(
        { url: 'http://127.0.0.1:1' },
        /FAILED +url +Nobody answers at http:\/\/127\.0\.0\.1:1/,
        /https:\/\/REF/,
      ),
    ).resolves.toBe(1)
    const others: [status: number, body: string][] = [
      [200, '<html>Hello</html>'],
      [404, '{"error":"not found"}'],
      [200, '{"hello":"world"}'],
    ]
    let [status, body] = [0, '']
    const other = createServer((_, response) => response.writeHead(status).end(body)).listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as AddressInfo
    for ([status, body] of others)
      await expect(
        fails(
          { url: `http://127.0.0.1:${port}` },
          new RegExp(`FAILED +url +What answers at .* is no Supabase project \\(status ${status}\\)`),
          /https:\/\/REF/,
        ),
      ).resolves.toBe(1)
    other.close()
    await expect(fails({ url: 'ref.supabase.co' }, /is no https URL/, /https:\/\/REF/)).resolves.toBe(2)
  })

  test('functions of an older version, and none at all', async () => {
    const rename = (name: string, to: string) => `ALTER FUNCTION public.${name} RENAME TO ${to}`
    await expect(
      undo(rename('queue_version', 'gone_version'), rename('gone_version', 'queue_version'), () =>
        fails({}, /those of an older version/, /ccm supabase migrate/),
      ),
    ).resolves.toBe(1)
    const answer = (version: string) =>
      `CREATE OR REPLACE FUNCTION public.queue_version() RETURNS text LANGUAGE sql IMMUTABLE SET search_path = '' RETURN '${version}'`
    await expect(
      undo(answer('20261120000007'), answer(NEWEST_MIGRATION), () =>
        fails({}, /those of an older version/, /ccm supabase migrate/),
      ),
    ).resolves.toBe(1)
    await expect(
      undo(rename('tasks_count', 'gone_count'), rename('gone_count', 'tasks_count'), () =>
        fails({}, /The tables of ccm are not in this database/, /ccm supabase migrate/),
      ),
    ).resolves.toBe(1)
  })

  test.each([
    ['SELECT ON systems', /ok +key [^]*FAILED +system /, 'permission denied for table systems'],
    [
      'EXECUTE ON FUNCTION tasks_count',
      /ok +key [^]*FAILED +tables /,
      'permission denied for function tasks_count',
    ],
    [
      'EXECUTE ON FUNCTION tasks_claim',
      /ok +key [^]*ok +realtime /,
      'permission denied for function tasks_claim',
    ],
    ['USAGE ON SCHEMA public', /ok +key [^]*FAILED +tables /, 'permission denied for schema public'],
  ])(
    'without %s what is missing is told, and the statement that gives it back',
    async (right, steps, why) => {
      await supabase().asAdmin(`REVOKE ${right} FROM service_role, public`)
      const { code, stdout, stderr } = await init()
      expect(stdout + stderr).toContain(why)
      expect(stdout).toMatch(steps)
      expect(code).not.toBe(0)
      const [, grant = ''] =
        /ccm supabase migrate[^]*in the SQL editor: (grant .*;)/.exec(stdout + stderr) ?? []
      await supabase().sql(grant)
      expect((await init()).code).toBe(0)
    },
  )

  test('row level security that hides rows', async () => {
    await expect(
      undo('ALTER ROLE service_role NOBYPASSRLS', 'ALTER ROLE service_role BYPASSRLS', () =>
        fails({}, /FAILED +system +Row level security hides/, /bypassrls/),
      ),
    ).resolves.toBe(1)
  })

  test('Realtime that is not enabled for the table', async () => {
    const [drop, add] = ['DROP', 'ADD'].map(
      (word) => `ALTER PUBLICATION supabase_realtime ${word} TABLE public.tasks`,
    )
    await expect(
      undo(drop ?? '', add ?? '', () =>
        fails(
          {},
          /FAILED +realtime +Realtime is not enabled for the table tasks/,
          /alter publication supabase_realtime add table/,
        ),
      ),
    ).resolves.toBe(1)
  })

  test('Realtime that is enabled for all tables is enabled for this one', async () => {
    const make = (tables: string) =>
      `DROP PUBLICATION supabase_realtime; CREATE PUBLICATION supabase_realtime FOR ${tables}`
    await undo(make('ALL TABLES'), make('TABLE public.tasks'), async () => {
      const { code, stdout } = await init()
      expect(stdout).toMatch(/ok +realtime [^]*ok +trial +a task was inserted, heard of by Realtime/)
      expect(code).toBe(0)
    })
  })

  test('doctor looks and makes nothing', async () => {
    const { secretKey } = supabase()
    const access = { url: gateway.url, secretKey, system: 'nowhere' }
    const checks = await checkSupabase(access, { make: false, logger })
    expect(checks.at(-1)).toMatchObject({
      name: 'system',
      state: 'failed',
      detail: expect.stringContaining('There is no system "nowhere"'),
    })
    expect(await supabase().sql(`SELECT id FROM systems WHERE id = 'nowhere'`)).toEqual([])
  })

  test('tables that were made a moment ago are waited for until the API knows them', async () => {
    const knownAt = performance.now() + 3000
    gateway.faultOf = (name) => {
      if (performance.now() > knownAt || !/^(?:tasks_count|queue_version)$/.test(name)) return null
      return (response) => {
        response.writeHead(404, { 'content-type': 'application/json' })
        response.end('{"code":"PGRST202","message":"Could not find the function in the schema cache"}')
      }
    }
    try {
      const { stdout } = await init({ args: ['--db-url', supabase().databaseUrl] })
      expect(stdout).toMatch(/ok +tables /)
    } finally {
      gateway.faultOf = () => null
    }
  })

  test('--db-url brings the tables up to date; --print prints them', async () => {
    const { code, stdout } = await init({ args: ['--db-url', supabase().databaseUrl] })
    expect(stdout).toMatch(/ok +migrations +up to date/)
    expect(code).toBe(0)
    const printed = await createCommandLine(folder, {}).ccm('supabase', 'init', '--print')
    expect(printed.stdout).toContain('create table public.tasks')
  })
})
