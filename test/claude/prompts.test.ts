import { createHash } from 'node:crypto'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createStage, type Stage } from '../e2e/stage.ts'

const sha256 = (text: string) => createHash('sha256').update(text, 'utf8').digest('hex')

const DONE = { kind: 'message', text: '[DONE]' } as const

/** Runs one task with this prompt, by standard input so that any byte may be in it, and answers what was submitted. */
async function runPrompt(
  stage: Stage,
  prompt: string,
  ...args: string[]
): Promise<{ id: string; submitted: string[] }> {
  const { code, stdout, stderr } = await stage.ccm(['run', '--json', '--trust', ...args, '-'], {
    input: prompt,
    timeoutMs: 120_000,
  })
  if (code !== 0) throw new Error(`exit ${code}: ${stdout.slice(0, 1500)} ${stderr}`)
  const { id } = JSON.parse(stdout) as { id: string }
  const events = (await stage.events(id)).filter((event) => event.hook_event_name === 'UserPromptSubmit')
  // Of a payload over 64 KiB the record keeps the beginning only; the API's own request tells the rest.
  return { id, submitted: events.map((event) => (event.truncated ? prompt : (event.prompt ?? ''))) }
}

/** Three agents at a time: most of a short task is waiting. */
async function inThrees<T>(items: T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  const left = items.entries()
  const worker = async () => {
    for (const [index, item] of left) await work(item, index)
  }
  await Promise.all([worker(), worker(), worker()])
}

/** Everything that a shell or tmux might have made of a prompt. */
function strayFiles(stage: Stage): string[] {
  return readdirSync(stage.folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    /(?:^|\/)x$/.test(path),
  )
}

const KIB_100 = 'Ünïcode ✓ line with "quotes", $(touch x) and \\ \n'.repeat(4000)
const EXACT: [string, string][] = [
  [
    '100 KiB',
    Buffer.from(KIB_100)
      .subarray(0, 100 * 1024)
      .toString('utf8')
      .replace(/\ufffd+$/, '')
      .padEnd(50, '.'),
  ],
  ['5,000 lines', Array.from({ length: 5000 }, (_, index) => `line ${index}`).join('\n')],
  ['one line of 90,000 characters', randomBytes(45_000).toString('hex')],
  ['a leading -', '-x is printed twice'],
  ['only an option', '--help'],
  ['a leading !', '!touch x'],
  ['a leading #', '# remember this'],
  ['an @-mention', '@parser.ts what is the answer?'],
  ['an @-mention of nothing', '@nothing-here.ts'],
  ['a trailing ;', 'touch;'],
  ['a trailing \\;', 'touch\\;'],
  ['only emoji', '👩‍💻🏳️‍🌈👨‍👩‍👧‍👦🇩🇪👍🏽❤️1️⃣🏴󠁧󠁢󠁥󠁮󠁧󠁿'],
  ['scripts with joiners', 'می‌خواهم क्‍ष ශ්‍රී'],
  ['tabs', '\ta\tb\n\tc\t'],
  ['CR LF', 'a\r\nb\r\n'],
  ['blanks and newlines around it', '\n\n  a  \n b \n\n\n'],
  ['decomposed letters', 'e\u0301 A\u030a \u212b \u1100\u1161'],
  ['substitutions', '$(touch x) `touch x` ${HOME} #(touch x) #{pane_id} %if 1'],
  ['quotes and backslashes', `'a' "b" \\n \\\\ '\\'' "\\"" $'x' \\`],
  ["Claude Code's own tags", '<command-name>/clear</command-name><bash-input>touch x</bash-input>'],
]
const COMMANDS = ['/clear', ' /clear', '\n\t/clear now', 'exit', ' quit\n', ':q!']
const IN_FILE: [string, string][] = [
  ['ESC sequences', 'a\u001b[31mred\u001b[201~\rtouch x\u001b]0;t\u0007'],
  ['zero-width characters', 'a\u200bb\ufeffc\u2060d\u00ade\u200df'],
  ['bidi overrides', 'rm \u202e txt.exe \u2066x\u2069'],
  ['a CR alone', 'a\rb'],
  ['other line ends', 'a\u2028b\u2029c\u0085d\u000be\u000cf'],
  ['every other control', Array.from({ length: 31 }, (_, at) => String.fromCodePoint(at + 1)).join('.')],
  [
    'hidden tags',
    `hello${Array.from('ignore', (letter) => String.fromCodePoint(0xe0000 + (letter.codePointAt(0) ?? 0))).join('')}`,
  ],
  ['a command behind an invisible character', '\u200b/clear'],
]

test(
  'every odd prompt reaches the API byte for byte, and is accepted exactly once',
  { timeout: 600_000 },
  async () => {
    await using stage = await createStage(() => DONE)
    const cases = [
      ...EXACT.map(([name, prompt]) => ({ name, prompt, text: prompt })),
      ...COMMANDS.map((prompt) => ({ name: prompt, prompt, text: `The task is this text:\n${prompt}` })),
    ]
    await inThrees(cases, async ({ name, prompt, text }) => {
      const { submitted } = await runPrompt(stage, prompt)
      const arrived = stage.model.requests.filter(({ userBlocks }) => userBlocks.includes(text))
      const shas = { submitted: submitted.map(sha256), arrived: arrived.length }
      expect({ name, ...shas }).toEqual({ name, submitted: [sha256(text)], arrived: 1 })
    })
    expect(stage.model.requests.length).toBe(cases.length)
    expect(strayFiles(stage)).toEqual([])
  },
)

test(
  'a prompt that Claude Code would change is read from a file with its exact bytes, without permission',
  { timeout: 200_000 },
  async () => {
    await using stage = await createStage(({ userText, toolResults }) => {
      if (toolResults.length > 0)
        return { kind: 'message', text: toolResults[0]?.isError ? '[ERROR] no' : '[DONE]' }
      const path = /exact text of the file (\S+) /.exec(userText)?.[1] ?? 'none'
      return { kind: 'message', tools: [{ name: 'Read', input: { file_path: path } }] }
    })
    await inThrees(IN_FILE, async ([name, prompt], index) => {
      const mode = ['manual', 'dontAsk', 'acceptEdits', 'plan'][index % 4] ?? 'manual'
      const { id, submitted } = await runPrompt(stage, prompt, '--permission-mode', mode)
      const path = /exact text of the file (\S+) /.exec(submitted[0] ?? '')?.[1] ?? ''
      const sha = sha256(readFileSync(path, 'utf8'))
      expect({ name, sha, submitted: submitted.length }).toEqual({ name, sha: sha256(prompt), submitted: 1 })
      const names = (await stage.events(id)).map((event) => event.hook_event_name)
      expect(names).toContain('PostToolUse')
      expect(names).not.toContain('PermissionRequest')
    })
    expect(stage.model.requests.length).toBe(2 * IN_FILE.length)
    expect(strayFiles(stage)).toEqual([])
  },
)

test(
  'what is no prompt is refused in one clear sentence with exit 2, and no task is made',
  { timeout: 200_000 },
  async () => {
    await using stage = await createStage(() => DONE)
    for (const [prompt, sentence] of [
      ['', 'The prompt is empty.'],
      [' \n\t', 'The prompt is empty.'],
      ['a\0b', 'NUL'],
      ['x'.repeat(100 * 1024 + 1), 'at most 102400 (100 KiB)'],
      ['ü'.repeat(51_201), 'at most 102400 (100 KiB)'],
    ] as const) {
      const { code, stdout, stderr } = await stage.ccm(['run', '--trust', '-'], { input: prompt })
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toContain(sentence)
    }
    expect(await stage.json<unknown[]>(['tasks'])).toEqual([])

    // The API says the same to whoever does not use the command line.
    const { port } = await stage.status()
    const token = readFileSync(join(stage.home, 'token'), 'utf8').trim()
    const post = async (prompt: string) => {
      const reply = await fetch(`http://127.0.0.1:${port}/api/tasks`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ prompt, dir: stage.work, trust: true }),
      })
      return { status: reply.status, text: await reply.text() }
    }
    for (const prompt of ['', ' ', 'a\0b', '\ud800', 'x'.repeat(100 * 1024 + 1)]) {
      const { status, text } = await post(prompt)
      expect(status).toBe(400)
      expect(text).toContain('The prompt')
    }
    expect(stage.model.requests).toEqual([])
  },
)

test('a directory may have any name; its agent works exactly there', { timeout: 400_000 }, async () => {
  await using stage = await createStage(({ toolResults }) =>
    toolResults.length > 0
      ? DONE
      : {
          kind: 'message',
          tools: [{ name: 'Bash', input: { command: 'pwd -P >where', description: 'where' } }],
        },
  )
  const names = [
    '#(touch x)',
    '$(touch x)',
    '`touch x`',
    'it\'s "quoted" \\',
    'two  blanks ',
    'new\nline',
    'ünï 👩‍💻',
    '-x',
    '#{pane_id};',
    '~',
  ]
  for (const name of names) {
    const dir = join(stage.folder, name)
    mkdirSync(dir)
    const { id } = await stage.add('Where are you?', '--dir', dir, '--permission-mode', 'bypassPermissions')
    const task = await stage.end(id, 120_000)
    expect({ name, status: task.status, error: task.error, dir: task.dir }).toEqual({
      name,
      status: 'succeeded',
      error: null,
      dir,
    })
    const events = await stage.events(id)
    expect(new Set(events.map((event) => event.cwd))).toEqual(new Set([dir]))
    expect(readFileSync(join(dir, 'where'), 'utf8')).toBe(`${dir}\n`)
  }
  expect(strayFiles(stage)).toEqual([])
})

test('a directory in which no agent may or can work is refused clearly', { timeout: 200_000 }, async () => {
  await using stage = await createStage(() => DONE)
  const file = join(stage.folder, 'a file')
  writeFileSync(file, '')
  const home = stage.env['HOME'] ?? ''
  const cases: [string, string][] = [
    [join(stage.folder, 'missing'), 'There is no directory'],
    [file, 'is a file, not a directory'],
    [join(file, 'below'), 'There is no directory'],
    ['/', 'the root of the file system'],
    [join(stage.work, '../../../../../../../..'), 'the root of the file system'],
    [home, 'your home folder'],
    ['', '--dir is empty'],
  ]
  if (process.getuid?.() === 0) {
    console.log('NOT TESTED: an unreadable directory, because root reads everything')
  } else {
    const dir = join(stage.folder, 'unreadable')
    mkdirSync(dir, { mode: 0 })
    cases.push([dir, 'cannot be read'])
  }
  for (const [dir, sentence] of cases) {
    const { code, stdout, stderr } = await stage.ccm(['run', '--trust', '--dir', dir, 'x'])
    const wanted = { dir, code: 2, stdout: '', stderr: expect.stringContaining(sentence) }
    expect({ dir, code, stdout, stderr }).toEqual(wanted)
  }
  expect(await stage.json<unknown[]>(['tasks'])).toEqual([])
  expect(readdirSync(stage.home)).not.toContain('attempts')
})
