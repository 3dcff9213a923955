import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRedactor } from './redact.ts'
import { patternFault } from './redact-pattern.ts'

const { text, value, mayHold } = createRedactor()
const alphabet = (letters: string, minLength: number, maxLength = minLength) =>
  fc.string({ unit: fc.constantFrom(...letters.split('')), minLength, maxLength })
const WORD = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const B64 = `${WORD}+/`
const after = (prefix: string, body: fc.Arbitrary<string>) => body.map((rest) => prefix + rest)

/** Secrets that their own form gives away. */
const SHAPED = [
  after('sk-ant-api03-', alphabet(`${WORD}_-`, 20, 90)),
  after('sk-proj-1', alphabet(WORD, 20, 60)),
  after('sk_live_', alphabet(WORD, 24)),
  ...['ghp_', 'gho_', 'ghs_', 'github_pat_'].map((prefix) => after(prefix, alphabet(WORD, 36))),
  after('ccmk_abcdefgh2345_', alphabet(`${WORD}_-`, 43)),
  ...['AKIA', 'ASIA', 'ABIA', 'ACCA'].map((prefix) =>
    after(prefix, alphabet('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)),
  ),
  after('AGE-SECRET-KEY-1', alphabet('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)),
  // Of a Telegram bot.
  fc.tuple(alphabet('123456789', 8, 10), alphabet(`${WORD}_-`, 35)).map((parts) => parts.join(':')),
  after('xoxb-1234-', alphabet(WORD, 24)),
  after('sb_secret_', alphabet(WORD, 20, 40)),
  after('AIza', alphabet(`${WORD}_-`, 35)),
  ...['glpat-', 'gldt-', 'glptt-', 'glsoat-', 'glrt-', 'glcbt-'].map((prefix) =>
    after(prefix, alphabet(WORD, 20)),
  ),
  after('npm_', alphabet(WORD, 36)),
  ...['hf_', 'dop_v1_', 'shpat_', 'shpss_', 'pypi-', 'SG.abcdefghij123456.'].map((prefix) =>
    after(prefix, alphabet(WORD, 32)),
  ),
  ...['GOCSPX-', 'whsec_', 'gsk_', 'dckr_pat_', 'lin_api_', 'ntn_', 'xai-', 'pplx-', 'hvs.', 'ya29.'].map(
    (prefix) => after(prefix, alphabet(WORD, 32)),
  ),
  fc
    .tuple(alphabet(WORD, 20), alphabet(WORD, 30), alphabet(WORD, 43))
    .map(([a, b, c]) => `eyJ${a}.eyJ${b}.${c}`),
]
const shaped = fc.oneof(...SHAPED)
/** Secrets that only what stands around them gives away. */
const plain = alphabet(WORD, 5, 40).map((letters) => `${letters}7z`)
const NAMES = [
  'password',
  'DB_PASSWORD',
  'apiKey',
  'api_key',
  'client-secret',
  'AUTH_TOKEN',
  'passwd',
  'passphrase',
  'DB_PWD',
  'GH_PAT',
  'account_key',
  'access-key',
  'private_key',
  'secretKey',
  'auth_key',
  'signing_key',
  'ENCRYPTION_KEY',
]
const names = fc.constantFrom(...NAMES)

const wrapped: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  fc
    .tuple(
      shaped,
      fc.constantFrom<(secret: string) => string>(
        (secret) => secret,
        (secret) => `the key is ${secret}, and so on`,
        (secret) => `"${secret}"`,
        (secret) => `curl -H 'x-api-key: ${secret}' https://example.org`,
        (secret) => `line\n  - ${secret}\nline`,
        (secret) => `https://example.org/?k=${secret}&x=1`,
        (secret) => JSON.stringify({ text: JSON.stringify({ a: secret }) }),
        (secret) => JSON.stringify({ text: `one\n${secret}\ttwo` }),
        (secret) => `\u001b[1;32m${secret}\u001b[0m`,
        (secret) => `https://example.org/?q=a%3D${secret}`,
      ),
    )
    .map(([secret, wrap]) => [secret, wrap(secret)] as const),
  fc
    .tuple(
      plain,
      names,
      fc.constantFrom<(secret: string, name: string) => string>(
        (secret, name) => `${name}=${secret}`,
        (secret, name) => `export ${name}="${secret}"; run`,
        (secret, name) => `${name}: ${secret}`,
        (secret, name) => `  ${name}: '${secret}'`,
        (secret, name) => `--${name}=${secret} --x`,
        (secret, name) => `run --${name} ${secret}`,
        (secret, name) => `{"${name}": "${secret}"}`,
        (secret, name) => JSON.stringify({ content: JSON.stringify({ [name]: secret }) }),
        (secret, name) => `https://example.org/?${name}=${secret}&x=1`,
        (secret, name) => `const ${name.replaceAll('-', '_')} = '${secret}'`,
        (secret) => `postgres://me:${secret}@db.example.org/app`,
        (secret) => `Authorization: Bearer ${secret}-0123`,
        (secret) => `curl -u me:${secret} https://example.org`,
      ),
    )
    .map(([secret, name, wrap]) => [secret, wrap(secret, name)] as const),
  alphabet(B64, 64, 200).map((body): readonly [string, string] => [
    body,
    `x\n-----BEGIN RSA PRIVATE KEY-----\n${body}\n-----END RSA PRIVATE KEY-----\nrest`,
  ]),
)
const around = fc.string({ maxLength: 200, unit: 'binary' })

test('a planted secret never remains, in whatever it is wrapped', () => {
  fc.assert(
    fc.property(wrapped, around, around, ([secret, planted], before, behind) => {
      const given = `${before}\n${planted}\n${behind}`
      expect(text(given)).not.toContain(secret)
      expect(mayHold(given)).toBe(true)
      // As it stands in a payload and in a line of the log: behind an escape.
      expect(mayHold(JSON.stringify({ given: planted }))).toBe(true)
      expect(mayHold(JSON.stringify({ given }))).toBe(true)
      const json = JSON.stringify(value({ tool_input: { command: given, list: [{ [planted]: given }] } }))
      expect(json).not.toContain(secret)
    }),
    { numRuns: 1500 },
  )
})

test('what is redacted is not redacted again, and nothing makes it throw', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        around,
        wrapped.map(([, planted]) => planted),
      ),
      around,
      (one, other) => {
        const once = text(one + other)
        expect(text(once)).toBe(once)
      },
    ),
    { numRuns: 2000 },
  )
})

test('JSON stays JSON, of the same form', () => {
  const shape = (given: unknown): unknown =>
    Array.isArray(given)
      ? given.map(shape)
      : typeof given === 'object' && given !== null
        ? Object.values(given).map(shape)
        : typeof given
  fc.assert(
    fc.property(fc.jsonValue(), (given) => {
      expect(shape(JSON.parse(JSON.stringify(value(given))))).toEqual(shape(given))
    }),
  )
})

test.each([
  ['  "password": "hunter2",', '  "password": "***",'],
  ['PGPASSWORD=swordfish psql', 'PGPASSWORD=*** psql'],
  ['db:\n  password: swordfish\n', 'db:\n  password: ***\n'],
  ['https://me:pa55@example.org/x', 'https://me:***@example.org/x'],
  ['{\\"token\\": \\"abc\\"}', '{\\"token\\": \\"***\\"}'],
])('%j becomes %j', (given, wanted) => {
  expect(text(given)).toBe(wanted)
})

test('a text under the name of a secret goes, whatever it looks like', () => {
  const given = {
    env: { DB_PASSWORD: 'abc', MODE: 'abc' },
    token: ['abc'],
    password: 'abc',
    next_token: 'abc',
  }
  expect(value(given)).toEqual({
    env: { DB_PASSWORD: '***', MODE: 'abc' },
    token: ['***'],
    password: '***',
    next_token: 'abc',
  })
})

test.each([
  ['{"password":"$uperS3cret!"}', '{"password":"***"}'],
  ["PGPASSWORD='$uperS3cret!' psql", "PGPASSWORD='***' psql"],
  ['hash_password: "$2b$12$abc"', 'hash_password: "***"'],
  ['password="<a>b"', 'password="***"'],
  ['password="{{S3cret"', 'password="***"'],
  ['password="%dS3cret"', 'password="***"'],
  ['TOKEN=os.S3cret', 'TOKEN=***'],
  ['PASSWORD=env.S3cret1', 'PASSWORD=***'],
  ['PASSWORD="...S3cret"', 'PASSWORD="***"'],
  ['password="+S3cret"', 'password="***"'],
  ['{"password": ",;S3cret)"}', '{"password": "***"}'],
  ['db_password=p4ss(word) run', 'db_password=*** run'],
  ['postgres://me:$up3r!@db/x', 'postgres://me:***@db/x'],
  ['curl -u me:S3$cret x', 'curl -u me:*** x'],
])('what only begins like a placeholder goes: %j becomes %j', (given, wanted) => {
  expect(text(given)).toBe(wanted)
})

test.each<[object, object]>([
  [{ headers: { Authorization: 'opaque' } }, { headers: { Authorization: '***' } }],
  [{ 'proxy-authorization': 'opaque words' }, { 'proxy-authorization': '***' }],
  [{ Cookie: 'session=abc; theme=dark' }, { Cookie: '***' }],
  [{ auths: { host: { auth: 'dXNlcjpodW50ZXI=' } } }, { auths: { host: { auth: '***' } } }],
  [
    { password: 12345678, passwords: 12345678, max_tokens: 4096, password_length: 4096 },
    { password: '***', passwords: 12345678, max_tokens: 4096, password_length: 4096 },
  ],
  [
    { auth: 'required', cookie: 'strict' },
    { auth: 'required', cookie: 'strict' },
  ],
])('%j becomes %j', (given, wanted) => {
  expect(value(given)).toEqual(wanted)
  expect(mayHold(JSON.stringify(given))).toBe(true)
})

const SLACK = 'https://hooks.slack.com/services'
const DISCORD = 'https://discord.com/api/webhooks/123456789'
test.each([
  [`curl ${SLACK}/T01/B02/abcdefgh -d x`, `curl ${SLACK}/*** -d x`],
  [`"${DISCORD}/abc-defghijk"`, `"${DISCORD}/***"`],
  ['git clone https://0123456789abcdefghij@example.org/x', 'git clone https://***@example.org/x'],
  ['//registry.example.org/:_auth=dXNlcjpodW50ZXI=', '//registry.example.org/:_auth=***'],
  ['{\\"auth\\": \\"dXNlcjpodW50ZXI=\\"}', '{\\"auth\\": \\"***\\"}'],
  ["curl -H 'Cookie: session=abcdefgh; a=b'", "curl -H 'Cookie: ***'"],
  ['Set-Cookie: id=abcdefgh; Path=/\nx', 'Set-Cookie: ***\nx'],
  ['{\\"Authorization\\": \\"abcdefgh1\\"}', '{\\"Authorization\\": \\"***\\"}'],
  ['machine example.org login me password hunter', 'machine example.org login me password ***'],
  [
    'machine example.org\n  login me\n  password hunter\n',
    'machine example.org\n  login me\n  password ***\n',
  ],
])('%j becomes %j as a text', (given, wanted) => {
  expect(text(given)).toBe(wanted)
  expect(mayHold(JSON.stringify({ given }))).toBe(true)
})

test.each([
  '$uperS3cret!',
  '$2b$12$abc',
  '<a>b',
  '{{S3cret',
  '%dS3cret',
  'os.S3cret',
  'env.S3cret',
  '...S3cret',
])('under the name of a secret %j goes', (password) => {
  expect(value({ password })).toEqual({ password: '***' })
})

test.each([
  '$TOKEN',
  '${TOKEN}',
  '$(cat token)',
  '<your token>',
  '{{ vault.token }}',
  '%s',
  '%(token)s',
  '...',
])('the placeholder %j stays', (token) => {
  expect(value({ token })).toEqual({ token })
  expect(text(`token="${token}"`)).toBe(`token="${token}"`)
})

test.each([
  'const token = tokens[index]',
  'auth: required, auth=AuthenticatedUser, { auth: "middleware" }',
  'cookie: strict, cookie: { sameSite: true }, cookie=accepted',
  'the login form has a password field; by default login asks for a password first',
  'https://example.org/@scope/package@1.2.3 and git@github.com, ssh://git@example.org/x',
  'https://hooks.slack.com/docs, see /webhooks/github',
  'TOKEN=$TOKEN run "$@"',
  'https://me:${TOKEN}@example.org, https://me:$TOKEN@example.org',
  'curl -u me:$TOKEN https://example.org',
  'API_KEY=process.env.KEY',
  'API_KEY = os.environ["KEY"]',
  'log("password:"+password+" of "+user)',
  "log('token:',it,'x')",
  '$password = $this->secret()',
  'token=sha256(given)',
  'token: string | null',
  '  password: string\n',
  'if (token === null) return',
  'apiKey: process.env.API_KEY,',
  'password = getPassword()',
  'login(user, password=password)',
  '{"max_tokens": 4096, "input_tokens": 12, "nextToken": "abc"}',
  'token: ${{ secrets.TOKEN }}',
  '--token "$TOKEN"',
  "console.log('password:', password)",
  'a key or token: then the rest',
  'Bearer authentication is refused',
  "if (text.startsWith('-----BEGIN PRIVATE KEY-----')) return",
  'sha512-0Nq5bO3Zk0m7h4yYg1xkQm3c2u8Xh4b7rM1r9Hq0Z0f1rD3yQ8tC9vW2nE5sK6aL7jP8oU1iT2eR3wQ4yU5iOA==',
  '59c4ae46-e6fe-4316-a65c-27ce35410755',
  'da39a3ee5e6b4b0d3255bfef95601890afd80709',
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'sk-fading-circle-animation, disk-usage, task-runner-4-everything-else',
])('%j is left as it is', (given) => {
  expect(text(given)).toBe(given)
})

test('screens and sources of this repository are left as they are', () => {
  const root = resolve(import.meta.dirname, '../..')
  const found: string[] = []
  let lines = 0
  for (const folder of ['src', 'test/claude/screens', 'hooks', 'migrations'])
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (!/\.(ts|txt|sh|sql)$/.test(file) || file.endsWith('.test.ts')) continue
      const given = readFileSync(join(root, folder, file), 'utf8').split('\n')
      const kept = text(given.join('\n')).split('\n')
      lines += given.length
      found.push(...given.filter((line, index) => line !== kept[index]).map((line) => line.trim()))
    }
  expect(lines).toBeGreaterThan(15_000)
  // A key, even a dummy's, on the screen that asks about it, and in the demo.
  // And placeholders in examples: better one blotted out than a real one left.
  expect(found.filter((line) => !/sk-ant-|api[_-]?key|:PASSWORD@|=sb_secret_…/i.test(line))).toEqual([])
})

const KEY = [
  '-----BEGIN RSA PRIVATE KEY-----',
  ...Array.from({ length: 5 }, () => 'Q'.repeat(64)),
  'QQQQQQQQ==',
  '-----END RSA PRIVATE KEY-----',
]
test.each<[string, unknown]>([
  ['as it is', KEY.join('\n')],
  ['without its beginning', KEY.slice(2).join('\n')],
  ['without its end', KEY.slice(0, 4).join('\n')],
  ['behind line numbers', KEY.map((line, index) => `${index}\t${line}`).join('\n')],
  ['in a program', KEY.map((line) => `  "${line}\\n" +`).join('\n')],
  ['in JSON in a text', JSON.stringify({ key: KEY.join('\n') })],
  ['in JSON in a text, without its beginning', JSON.stringify({ key: KEY.slice(2).join('\n') })],
  ['line by line in a patch', KEY.map((line) => `+${line}`)],
  ['line by line, without its beginning', ['before', ...KEY.slice(2), 'behind']],
])('nothing remains of a private key %s', (_, given) => {
  const kept = JSON.stringify(value({ given }))
  expect(kept).not.toContain('QQ')
  expect(kept).toContain(
    JSON.stringify(given).includes('END') ? 'END RSA PRIVATE KEY' : 'BEGIN RSA PRIVATE KEY',
  )
})

test('what stands around a private key in a list stays', () => {
  const given = ['before', ...KEY, 'one-word', 'behind']
  expect(value({ given }).given).toEqual([
    'before',
    KEY[0],
    ...Array.from({ length: 6 }, () => '***'),
    KEY[7],
    'one-word',
    'behind',
  ])
})

test('each known form goes by itself, and so does what stands behind each name of a secret', () => {
  for (const one of SHAPED)
    for (const secret of fc.sample(one, { numRuns: 5, seed: 1 }))
      expect([secret, text(`(${secret})`)]).toEqual([secret, expect.not.stringContaining(secret.slice(-12))])
  for (const name of NAMES) expect(text(`${name}=x7-9-correct`)).toBe(`${name}=***`)
  for (const scheme of ['Bearer', 'Basic', 'bearer'])
    expect(text(`-H 'X-Key: ${scheme} x7-9-correct'`)).toBe(`-H 'X-Key: ${scheme} ***'`)
  for (const kind of ['services', 'workflows', 'triggers'])
    expect(text(`https://hooks.slack.com/${kind}/T0/B0/x79correct`)).toMatch(/\/\*\*\*$/)
})

test('the values of key-like variables go wherever they stand, also in a URL and in JSON', () => {
  const secret = 'correct "horse" battery'
  const own = createRedactor({ values: [secret, 'short'] })
  expect(own.text(`a ${secret} b short`)).toBe('a *** b short')
  expect(own.text(`?q=${encodeURIComponent(secret)}`)).toBe('?q=***')
  expect(own.text(JSON.stringify({ secret, other: `x ${secret}` }))).not.toContain('horse')
})

test('of a secret that begins like another one nothing stays', () => {
  const own = createRedactor({ values: ['hunter', 'hunter-and-more'] })
  expect(own.text('hunter-and-more hunter')).toBe('*** ***')
})

test('however deep a value is nested, it is gone through or blotted out', () => {
  let deep: unknown = 'ghp_0123456789abcdefghijABCDEFGHIJ'
  for (let depth = 0; depth < 20_000; depth++) deep = [deep]
  let found = value(deep)
  while (Array.isArray(found)) found = found[0] as unknown
  expect(found).toBe('***')
})

test('a text of JSON may hold a secret whose letters are written as escapes', () => {
  const json = String.raw`{"a":"\u0067hp_0123456789abcdefghijABCDEFGHIJ"}`
  expect([mayHold(json), value(JSON.parse(json))]).toEqual([true, { a: 'ghp_***' }])
})

test('a key that is too short or plain for others of its kind goes by the name in it', () => {
  expect(text('sk-ant-abcdefgh')).toBe('sk-ant-***')
})

test('patterns of the configuration are redacted too', () => {
  const own = createRedactor({ patterns: ['ACME-\\d+'] })
  expect(own.text('ACME-1 and ACME-22')).toBe('*** and ***')
  expect(own.mayHold('{}')).toBe(true)
})

test.each([
  '(a+)+$',
  '(a|a)*b',
  '(?:x*y?)*',
  '((a+)b)+',
  '(',
  '',
  'a*',
  '(.*)\\1',
  'x.*y.*z.*',
  'a'.repeat(501),
  '[^](a+)+]',
  'b+b+b+b+!',
  'a.*b',
  'a.*b.*c',
  'token: .*$',
  '\\w+@corp',
  '[\\w.]+\\b-x',
  'a(?=.*b)',
  '(?<=token\\s*=\\s*)\\w+',
  '(?:\\w{4,8})*x',
  '(?:ab?)+x',
  '(?:a{0,30}){0,30}x',
  '.{0,200}b.{0,200}c',
  '.{100000}x',
  '(?i:A)b*B+C',
])('the pattern %j is refused', (source) => {
  expect(patternFault(source)).toEqual(expect.any(String))
})
test.each([
  ['a.*b', 'a.{0,200}b'],
  ['\\w+@corp', '\\w{1,200}@corp'],
  ['BEGIN[\\s\\S]{9,}?END', 'BEGIN[\\s\\S]{9,200}?END'],
  ['(?:a;)+x', '(?:a;){1,200}x'],
])('of %j is told where to say what: %j, and that is taken', (source, better) => {
  const [, at, put = ''] = /at character (\d+), .*, as in (.+)$/.exec(patternFault(source) ?? '') ?? []
  const from = Number(at) - 1
  const repaired = source.slice(0, from) + source.slice(from).replace(/^(?:[*+]|\{\d+,\})/, put)
  expect([repaired, patternFault(repaired)]).toEqual([better, null])
})
test.each([
  'ACME-[0-9a-f]{32}',
  '\\bint-[\\w.-]+',
  '(?:foo|bar)-\\d+',
  'id=\\(\\w+\\)',
  'C:\\\\keys',
  'password\\s*[:=]\\s*\\S+',
  '"secret"\\s*:\\s*"[^"]*"',
  '\\b\\w+@corp',
  '\\w{1,64}@\\w{1,64}\\.com',
  'https?://[^\\s/]+\\.corp',
  'KEY(?:-[0-9A-F]{4})+!',
  '(?:\\w{4,8}-)+',
  '-----BEGIN ACME-----[^]{0,300}?-----END ACME-----',
  '(?i:acme-[a-z0-9]+)',
  '^token=.*',
  '(?<=token=)\\w+',
])('%j is taken, and takes no longer than the length of a text', (source) => {
  expect(patternFault(source)).toBeNull()
  const own = createRedactor({ patterns: [source] })
  const literals = source.replaceAll(/\\.|[^\w: =/@"-]/g, '')
  for (const piece of [
    'a',
    ' ',
    '-',
    'ab-',
    'a b ',
    '"',
    `${literals} `,
    literals,
    'https://',
    'password',
    'KEY-0000',
  ]) {
    const from = performance.now()
    own.text(piece.repeat(200_000 / piece.length))
    // What is quadratic takes a minute.
    expect([piece, performance.now() - from < 15_000]).toEqual([piece, true])
  }
})

test.each([
  'sk-',
  'token',
  'token="',
  'token:',
  'http://',
  'a:',
  '-----BEGIN PRIVATE KEY-----',
  'curl -u ',
  'eyJ',
  '12345678:',
  '--a-token ',
  'token ',
  '_token_',
  'authorization:',
  'auth=aaaaaaa1',
  'auth:',
  'Cookie: ',
  'cookie=a=',
  'machine a login b ',
  'login ',
  'https://a1',
  'Bearer ',
  'a',
  '\\"',
  'password=\\"',
  'x@://',
  'eyJabcdefgh.',
  '-----END ',
  '-----END PRIVATE KEY-----',
  `${'A'.repeat(40)}+`,
  '+',
  '\\\\n',
])('a megabyte of %j takes no longer than its length', (piece) => {
  const long = piece.repeat(1_000_000 / piece.length)
  const from = performance.now()
  text(long)
  // 5 to 250 ms; what is quadratic takes minutes.
  expect(performance.now() - from).toBeLessThan(15_000)
})
