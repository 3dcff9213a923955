import { array, assert, boolean, constantFrom, property, string } from 'fast-check'
import { expect, test } from 'vitest'
import {
  judge,
  pathOf,
  ruleFault,
  toAskFor,
  toMatcher,
  type PermissionRule,
  type Place,
} from './permission-rule.ts'
import { readShellCommand } from './shell-command.ts'

const allow = (rule: string): PermissionRule => ({ effect: 'allow', rule })
const deny = (rule: string): PermissionRule => ({ effect: 'deny', rule })
const ask = (rule: string): PermissionRule => ({ effect: 'ask', rule })

const bash = (command: string) => ({ tool: 'Bash', input: { command } })
const effectOf = (rules: PermissionRule[], command: string) =>
  judge(rules, bash(command), null)?.effect ?? null
const place = (path: string, realPath = path): Place => ({
  path,
  realPath,
  dir: '/code/app',
  realDir: '/code/app',
  home: '/home/me',
})
const edit = (rules: PermissionRule[], path: string, realPath = path, tool = 'Edit') =>
  judge(rules, { tool, input: { file_path: path } }, place(path, realPath))?.effect ?? null

const NPM = [allow('Bash(npm test:*)')]

test('a prefix rule allows its command with any further words, and no other word', () => {
  for (const command of [
    'npm test',
    'npm test -- --run',
    '  npm   test  ',
    `npm 'test' "a b"`,
    'npm test src/*.ts',
  ])
    expect([command, effectOf(NPM, command)]).toEqual([command, 'allow'])
  for (const command of [
    'npm',
    'npm tests',
    'npm test:all',
    'npm run test',
    'xnpm test',
    '/tmp/npm test',
    'npm t?st',
  ])
    expect([command, effectOf(NPM, command)]).toEqual([command, null])
})

const TRICKS = [
  'npm test && rm -rf /',
  'npm test || rm -rf /',
  'npm test; rm -rf /',
  'npm test;rm -rf /',
  'npm test | sh',
  'npm test |& sh',
  'npm test & rm -rf /',
  'npm test & npm test',
  'npm test\nrm -rf /',
  'npm test\r\nrm -rf /',
  'npm test $(rm -rf /)',
  'npm test `rm -rf /`',
  'npm test "$(rm -rf /)"',
  'npm test "`rm -rf /`"',
  'npm test > /etc/passwd',
  'npm test 2>/etc/passwd',
  'npm test >| x',
  'npm test < /etc/shadow',
  'npm test <<< x',
  'npm test <(rm -rf /)',
  'npm test >(rm -rf /)',
  'PATH=/tmp npm test',
  "'PATH=/tmp' npm test",
  'npm test \\; rm',
  'npm test \\\nrm',
  'npm test ${IFS}x',
  "npm test $'\\n'rm",
  'npm test "$HOME"',
  'npm test {a,b}',
  '(npm test)',
  '{ npm test; }',
  '! npm test',
  'npm test # rm',
  'if npm test; then rm -rf /; fi',
  'eval npm test',
  'exec npm test',
  'command npm test',
  'npm test "unfinished',
  "npm test 'unfinished",
  'npm test *(e:rm:)',
  'npm test =rm',
  'npm test ;; rm',
  'npm test ;; npm test',
  'npm test ; ; npm test',
  'npm test;',
  'npm test |',
  'npm test "a\nb"',
  'npm test &&',
  '&& npm test',
  'npm test \0',
  'npm test "!rm"',
  'function npm { rm; }; npm test',
  'npm() { rm; }; npm test',
]

test.each(TRICKS)('a prefix rule of its first part never allows %j', (command) => {
  expect(effectOf(NPM, command)).toBeNull()
})

test('every part of a compound command needs a rule of its own, and all of them are named', () => {
  const rules = [...NPM, allow('Bash(tee:*)'), allow('Bash(git status)')]
  expect(judge(rules, bash('npm test | tee log && git status'), null)).toEqual({
    effect: 'allow',
    rules: ['Bash(npm test:*)', 'Bash(tee:*)', 'Bash(git status)'],
  })
  expect(effectOf(rules, 'npm test | tee log && git push')).toBeNull()
})

test('deny beats ask beats allow, in any part of a command and by any path to the program', () => {
  const rules = [allow('Bash'), ask('Bash(git push:*)'), deny('Bash(rm:*)')]
  expect(judge(rules, bash('ls && /bin/rm -rf x'), null)).toEqual({ effect: 'deny', rules: ['Bash(rm:*)'] })
  expect(judge(rules, bash('git push && rm x'), null)?.effect).toBe('deny')
  expect(judge(rules, bash('git push origin'), null)).toEqual({ effect: 'ask', rules: ['Bash(git push:*)'] })
  expect(effectOf(rules, 'ls')).toBe('allow')
})

test('where a rule forbids something, a broad rule does not allow what cannot be told', () => {
  const rules = [allow('Bash'), deny('Bash(rm:*)')]
  for (const command of [
    '$(echo rm) x',
    'X=1 rm x',
    'sudo rm x',
    `bash -c 'rm x'`,
    'xargs rm',
    'r\\m x',
    'if true; then rm x; fi',
  ])
    expect([command, effectOf(rules, command)]).toEqual([command, 'ask'])
  expect(effectOf([allow('Bash')], '$(echo rm) x')).toBe('allow')
  expect(effectOf([allow('Bash'), deny('Bash(git push:*)')], 'git pus[h] x')).toBe('ask')
})

const BROAD = [allow('Bash'), allow('Bash(git:*)')]
const FORBIDDEN: [rule: string, effect: string, ...commands: string[]][] = [
  [
    'git push:*',
    'ask',
    'git -C . push',
    'git --no-pager push origin',
    "git -C 'a b' push",
    'git log --grep push',
  ],
  ['git push:*', 'ask', 'taskset 1 git push', "taskset 1 'git push'", 'git -C . pus[h]', 'git -C . [a-z]ush'],
  ['git push:*', 'allow', 'git status', 'git commit -m pushed', 'git diff src/*.ts', 'git log git-push.md'],
  ['rm*', 'deny', 'rm', 'rm -rf x', '/bin/rm -rf x', 'rmdir x'],
  ['git * --force', 'deny', 'git push --force', 'git push origin --force', '/usr/bin/git push a b --force'],
  ['git * --force', 'ask', 'git push --force origin', 'git push --force=yes'],
  ['git * --force', 'allow', 'git push origin', 'git push --force-with-lease'],
  ['* --force', 'deny', 'git push --force'],
  [
    'rm:*',
    'ask',
    "trap 'rm -rf x' EXIT",
    'trap \'r""m -rf x\' EXIT',
    'taskset 1 rm x',
    'git rm x',
    'chrt 1 /bin/RM x',
  ],
  ['rm:*', 'ask', "python3.12 -c 'x'", "php -r 'x'", "perl5.36 -e 'x'", 'lua5.4 x', "git -c alias.z='!x' z"],
  ['rm:*', 'ask', "git config alias.z '!rm -rf x'", 'test -v \'a[$(r""m x)]\''],
  [
    'rm:*',
    'allow',
    'npm run format',
    'docker run --rm x',
    'cat rm.txt src/platform',
    'test -f x',
    'git switch -c a',
  ],
  ['git commit -m "wip":*', 'deny', 'git commit -m wip', 'git commit -m "wip" -a', "git commit -m 'wip'"],
  [
    'rm:*',
    'ask',
    'echo x > y; r"m" z',
    'echo >x\nr\\\nm z',
    '/bin/r? x',
    'taskset 1 /bin/[r]m x',
    '(rm x) &',
  ],
  ['rm:*', 'ask', 'echo $X > y', 'A=r{,}m', 'cat x | sh 2>&1', 'echo "`x`"', 'ls 2>&1 | xargs -0'],
  [
    'rm:*',
    'allow',
    'npm test 2>&1 | tail -5',
    'echo hi > said',
    'cd x\nls *.ts &',
    'if [ -f x ]; then cd ~; fi',
  ],
  ['git push:*', 'allow', "cat >x <<'E'\nnpm push\nE", 'git status > x'],
  ['/usr/bin/rm:*', 'ask', 'rm x', '/bin/rm x'],
  ['*', 'deny', 'ls'],
  ["git commit -m 'a b'", 'deny', 'git commit -m "a b"'],
]

test.each(FORBIDDEN)(
  'what Bash(%s) forbids comes to %s under a broad rule: %s %s %s',
  (rule, effect, ...commands) => {
    for (const command of commands) {
      const rules = [...BROAD, deny(`Bash(${rule})`)]
      expect([command, effectOf(rules, command)]).toEqual([command, effect])
      // As much as it denies, it asks for.
      const asking = effectOf([...BROAD, ask(`Bash(${rule})`)], command)
      expect([command, asking]).toEqual([command, effect === 'deny' ? 'ask' : effect])
    }
  },
)

test('a rule without a wildcard is the whole command, however it is written', () => {
  const whole = [allow('Bash(npm test && npm run lint > log)')]
  expect(effectOf(whole, 'npm test && npm run lint > log')).toBe('allow')
  expect(effectOf(whole, 'npm test && npm run lint > log2')).toBeNull()
  expect(effectOf([allow('Bash(npm test)')], 'npm test x')).toBeNull()
})

test('a star inside a pattern stays within its word', () => {
  const rules = [allow('Bash(git checkout feature/*)'), allow('Bash(npm run *)')]
  expect(effectOf(rules, 'git checkout feature/a')).toBe('allow')
  expect(effectOf(rules, 'git checkout feature/a b')).toBeNull()
  expect(effectOf(rules, 'npm run build --all')).toBe('allow')
})

test('a command outside the sandbox is never allowed by a pattern', () => {
  const input = { command: 'npm test', dangerouslyDisableSandbox: true }
  expect(judge(NPM, { tool: 'Bash', input }, null)).toBeNull()
})

test('path patterns are those of .gitignore, within the project', () => {
  const rules = [allow('Edit(src/**)')]
  expect(edit(rules, '/code/app/src/a/b.ts')).toBe('allow')
  expect(edit(rules, '/code/app/src/b.ts', '/code/app/src/b.ts', 'Write')).toBe('allow')
  expect(edit(rules, '/code/app/src')).toBeNull()
  expect(edit(rules, '/code/app/lib/src/b.ts')).toBeNull()
  expect(edit(rules, '/code/app2/src/b.ts')).toBeNull()
  expect(edit([allow('Edit(*.md)')], '/code/app/a/b.md')).toBe('allow')
  expect(edit([allow('Edit(/*.md)')], '/code/app/a/b.md')).toBeNull()
  expect(edit([allow('Edit(docs)')], '/code/app/docs/x')).toBe('allow')
  expect(edit([allow('Edit(//tmp/x/**)')], '/tmp/x/y')).toBe('allow')
  expect(edit([allow('Read(~/notes/**)')], '/home/me/notes/a', undefined, 'Read')).toBe('allow')
  expect(edit([allow('Write(src/**)')], '/code/app/src/a')).toBeNull()
  expect(edit([allow('Edit(a.b)')], '/code/app/axb')).toBeNull()
})

test('a link out of what a rule allows is not allowed, and a link into what it denies is denied', () => {
  expect(edit([allow('Edit(src/**)')], '/code/app/src/link', '/etc/passwd')).toBeNull()
  expect(edit([allow('Edit(src/**)')], '/code/app/src/link', '/code/app/secrets/key')).toBeNull()
  expect(edit([allow('Edit'), deny('Edit(secrets/**)')], '/code/app/a', '/code/app/secrets/key')).toBe('deny')
  expect(edit([allow('Edit'), deny('Edit(secrets/**)')], '/code/app/secrets/a', '/tmp/a')).toBe('deny')
})

test('a search whose own pattern leaves its folder is not allowed', () => {
  const search = (pattern: string) =>
    judge(
      [allow('Read(src/**)')],
      { tool: 'Glob', input: { path: '/code/app/src/a', pattern } },
      place('/code/app/src/a'),
    )
  expect(search('*.ts')?.effect).toBe('allow')
  for (const pattern of ['../../**', '/etc/*', '~/x', 'a/../../x']) expect(search(pattern)).toBeNull()
})

test('a search that may find what a rule forbids is for a person: from above, or led there by its pattern', () => {
  const rules = (rule: string) => [allow('Read'), deny(rule)]
  const search = (rule: string, tool: string, path: string, pattern = 'x') =>
    judge(rules(rule), { tool, input: { path, pattern } }, place(path))?.effect
  for (const path of ['/', '/srv', '/srv/data', '/srv/data/private'])
    expect([path, search('Read(//srv/data/private/**)', 'Grep', path)]).toEqual([path, 'ask'])
  expect(search('Read(//srv/data/private/**)', 'Grep', '/srv/data/private/a')).toBe('deny')
  for (const path of ['/srv/data/public', '/code/app', '/srv/data/private2'])
    expect([path, search('Read(//srv/data/private/**)', 'Grep', path)]).toEqual([path, 'allow'])
  for (const rule of ['Read(secrets/key)', 'Read(/secrets/**)', 'Read(.env)', 'Read(a/**/*.pem)', 'Read(*)'])
    expect([rule, search(rule, 'Glob', '/code/app')]).not.toEqual([rule, 'allow'])
  expect(search('Read(a/**/*.pem)', 'Grep', '/code/app/a/b')).toBe('ask')
  expect(search('Read(.env)', 'Grep', '/code/app/sub')).toBe('ask')
  expect(search('Read(~/.ssh/**)', 'Grep', '/home')).toBe('ask')
  expect(search('Read(a/**/*.pem)', 'Grep', '/code/app/b')).toBe('allow')
  // A regular expression leads nowhere.
  expect(search('Read(//srv/x)', 'Grep', '/code/app', '/srv/../')).toBe('allow')
  for (const pattern of ['/srv/x', '../x', '~/x', 'a/../../x'])
    expect([pattern, search('Read(//srv/x)', 'Glob', '/code/app', pattern)]).toEqual([pattern, 'ask'])
  // A reader of one file is no search.
  expect(edit(rules('Read(a/b)'), '/code/app/a', undefined, 'Read')).toBe('allow')
  expect(judge(rules('Read(a/b)'), { tool: 'Read', input: { file_path: 'x' } }, null)?.effect).toBe('ask')
})

test('an address is judged by its host', () => {
  const fetch = (rules: PermissionRule[], url: string) =>
    judge(rules, { tool: 'WebFetch', input: { url } }, null)?.effect ?? null
  const rules = [allow('WebFetch(domain:example.com)')]
  expect(fetch(rules, 'https://EXAMPLE.com/a')).toBe('allow')
  for (const url of [
    'https://example.com.evil.org/',
    'https://evil.org/?example.com',
    'https://example.com@evil.org/',
    'https://me@example.com/',
    'https://a.example.com/',
    'file://example.com/etc',
    'example.com',
  ])
    expect([url, fetch(rules, url)]).toEqual([url, null])
  expect(fetch([allow('WebFetch(domain:*.example.com)')], 'https://a.example.com/')).toBe('allow')
  expect(fetch([allow('WebFetch'), deny('WebFetch(domain:evil.org)')], 'https://me@evil.org./')).toBe('deny')
})

test("a server's name stands for all its tools", () => {
  const of = (rule: string, tool: string) => judge([allow(rule)], { tool, input: {} }, null)?.effect ?? null
  expect(of('mcp__github', 'mcp__github__list')).toBe('allow')
  expect(of('mcp__github', 'mcp__githubber__list')).toBeNull()
  expect(of('mcp__github__get*', 'mcp__github__get_issue')).toBe('allow')
  expect(of('WebSearch', 'WebSearch')).toBe('allow')
})

test('a question is never answered by a rule', () => {
  expect(
    judge([allow('AskUserQuestion'), deny('AskUserQuestion')], { tool: 'AskUserQuestion', input: {} }, null),
  ).toBeNull()
})

test.each([
  '',
  'Bash()',
  'Bash(',
  'Bash(a) ',
  ' Bash',
  '*',
  'Ba*',
  'Bash(a:* b)',
  'Edit(../x)',
  'WebFetch(example.com)',
  'Task(x)',
  'AskUserQuestion',
  'Bash(a\nb)',
  'x'.repeat(1001),
])('%j is refused as a rule', (rule) => {
  expect(ruleFault(rule)).not.toBeNull()
})

test('what Claude Code is told to ask for is as much as the rule is about', () => {
  for (const [rule, ...told] of [
    ['Write(secrets/**)', 'Edit(secrets/**)'],
    ['NotebookEdit(/a.ipynb)', 'Edit(//code/app/a.ipynb)'],
    ['Edit(./a)', 'Edit(//code/app/a)'],
    ['Read(/closed/**)', 'Read(//code/app/closed/**)'],
    ['Read(//etc/**)', 'Read(//etc/**)'],
    ['Edit(~/x)', 'Edit(~/x)'],
    ['Edit', 'Edit', 'Write', 'MultiEdit', 'NotebookEdit'],
    ['Write', 'Write'],
    ['Bash(rm:*)', 'Bash(rm:*)'],
    ['mcp__github', 'mcp__github'],
  ] as [string, ...string[]][])
    expect([rule, ...toAskFor(rule, '/code/app')]).toEqual([rule, ...told])
})

test('the tools that rules are about are those that Claude Code is told to look up', () => {
  const matches = (rule: string, tool: string) => new RegExp(toMatcher([deny(rule)]) ?? 'x').test(tool)
  expect(toMatcher([])).toBeNull()
  for (const [rule, tool] of [
    ['Bash(rm:*)', 'Bash'],
    ['Edit(a)', 'Write'],
    ['Read(a)', 'Grep'],
    ['mcp__github', 'mcp__github__list'],
    ['mcp__github__get*', 'mcp__github__get_issue'],
    ['WebFetch(domain:a.b)', 'WebFetch'],
  ] as const)
    expect([rule, matches(rule, tool), matches(rule, 'BashOutput')]).toEqual([rule, true, false])
})

test('which requests are about a path', () => {
  expect(pathOf({ tool: 'NotebookEdit', input: { notebook_path: 'a' } })).toBe('a')
  expect(pathOf({ tool: 'Grep', input: { pattern: 'x' } })).toBe('.')
  expect(pathOf(bash('ls'))).toBeNull()
})

test('whatever stands behind an allowed command, a character of the shell grammar outside single quotes ends the permission', () => {
  const plain = constantFrom('a', 'b1', '-x', '--y=1', 'src/a.ts', "'q q'", '"d d"')
  const grammar = constantFrom(
    '$',
    '`',
    '\\',
    '<',
    '>',
    '(',
    ')',
    '{',
    '}',
    '&',
    '\n',
    '\r',
    '\0',
    '\x1b',
    '"',
    "'",
  )
  assert(
    property(array(plain), grammar, array(plain), boolean(), (before, char, after, glued) => {
      const command = ['npm test', ...before, glued ? `x${char}y` : char, ...after].join(' ')
      // A quote may close another and leave a plain text: then the text itself has to be plain.
      const commands = readShellCommand(command)
      if (char === '"' || char === "'") return commands === null || commands.length === 1
      return effectOf(NPM, command) === null
    }),
    { numRuns: 2000 },
  )
})

test('a command that is read consists of exactly what was quoted, word by word', () => {
  const word = string({
    unit: constantFrom(...' abc$`"\\;&|<>(){}*?[]!#=~\t'.split('').filter((c) => c !== '\t')),
  })
  assert(
    property(array(word, { maxLength: 5 }), (words) => {
      const command = ['run', ...words.map((text) => `'${text}'`)].join(' ')
      expect(readShellCommand(command)).toEqual([
        [{ text: 'run', wild: false }, ...words.map((text) => ({ text, wild: false }))],
      ])
    }),
  )
})

test('no text whatever makes the reader throw, and no rule allows what it does not read', () => {
  const nasty = string({
    unit: constantFrom(...`npm test '"$\`\\;&|<>(){}*?[]!#=~\t\n\0rm-`.split('')),
    maxLength: 40,
  })
  assert(
    property(nasty, (text) => {
      const verdict = judge([allow('Bash(npm test:*)'), allow('Bash(rm -x)')], bash(text), null)
      return verdict === null || readShellCommand(text) !== null
    }),
    { numRuns: 5000 },
  )
})

test('no path outside the project is allowed by a pattern of the project', () => {
  const part = constantFrom('src', 'a', 'app', 'code', '..x', 'x..', '...')
  assert(
    property(
      array(part, { minLength: 1, maxLength: 5 }),
      constantFrom('**', '*', 'src/**', 'a', '/**'),
      (parts, glob) => {
        const path = `/${parts.join('/')}`
        return (
          path.startsWith('/code/app/') ||
          path === '/code/app' ||
          edit([allow(`Edit(${glob})`)], path) === null
        )
      },
    ),
    { numRuns: 1000 },
  )
})

test('a word that the shell expands is what a star of a rule stands for only where that stands alone', () => {
  const rules = [allow('Bash(npm run t*)'), allow('Bash(rm *.log)'), allow('Bash(npm run ab*ba)')]
  for (const command of ['npm run test', 'npm run abba', 'rm a.log'])
    expect([command, effectOf(rules, command)]).toEqual([command, 'allow'])
  for (const command of ['npm run t*', 'npm run t?', 'rm *.log', 'npm run aba'])
    expect([command, effectOf(rules, command)]).toEqual([command, null])
})

test('a command that leaves the sandbox is allowed by no rule about its words', () => {
  const outside = { tool: 'Bash', input: { command: 'ls', dangerouslyDisableSandbox: true } }
  expect(judge([allow('Bash(ls)'), allow('Bash(ls:*)')], outside, null)).toBeNull()
})

test('a rule that could not be added decides nothing, nor any rule a question', () => {
  const question = { tool: 'AskUserQuestion', input: {} }
  expect(judge([allow('AskUserQuestion'), deny('AskUserQuestion')], question, null)).toBeNull()
  expect(edit([allow('Edit(src/../**)'), allow('Edit(/src/..)')], '/code/app/src/..')).toBeNull()
  expect(effectOf([allow('Bash(npm:* test:*)')], 'npm:x test')).toBeNull()
})

test('where a path or an address cannot be told, nothing is allowed and whatever is denied may be meant', () => {
  const nowhere = { tool: 'Edit', input: {} }
  expect(judge([allow('Edit(src/**)')], nowhere, null)).toBeNull()
  expect(judge([allow('Edit'), deny('Edit(src/**)')], nowhere, null)?.effect).toBe('ask')
  const odd = { tool: 'WebFetch', input: { url: 'no address' } }
  expect(judge([allow('WebFetch(domain:good.example)')], odd, null)).toBeNull()
  expect(judge([allow('WebFetch'), deny('WebFetch(domain:bad.example)')], odd, null)?.effect).toBe('deny')
})

test('a rule whose program has a star allows none that the shell would look for, or that is a variable', () => {
  const rules = [allow('Bash(* --version)'), allow('Bash(*/run.sh:*)')]
  for (const command of ['npm --version', './run.sh x'])
    expect([command, effectOf(rules, command)]).toEqual([command, 'allow'])
  for (const command of ['./* --version', 'X=/run.sh rm -rf x'])
    expect([command, effectOf(rules, command)]).toEqual([command, null])
})

test.each(['', ';', 'a;', 'a;;b', 'a|', '|a', 'a && && b'])(
  '%j, with an empty command, is not read',
  (text) => {
    expect(readShellCommand(text)).toBeNull()
  },
)
