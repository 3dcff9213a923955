import { array, assert, boolean, constantFrom, oneof, pre, property, string } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BUSY, FOOTER, LOGO, message, OVER, PERMISSION, RULE, screen } from './screen-frames.fixture.ts'
import { readScreen } from './screen.ts'

describe('prose', () => {
  test('that quotes a whole dialog is no dialog', () => {
    const text = screen(`❯ Explain\n\n${message(PERMISSION)}\n\n${OVER}`)
    expect(readScreen(text)).toMatchObject({ kind: 'ready', dialog: null, composer: '' })
  })

  test('that quotes a dialog is no dialog either when the screen is cut below it', () => {
    expect(readScreen(`${LOGO}\n\n❯ Explain\n\n${message(PERMISSION)}\n`).kind).toBe('unknown')
  })

  test('that quotes a whole screen does not hide the real one', () => {
    const quoted = message(screen('❯ Go', { footer: BUSY }).trimEnd())
    expect(readScreen(screen(`❯ Explain\n\n${quoted}\n\n${OVER}`)).kind).toBe('ready')
  })

  test('about the footer does not make a finished turn run', () => {
    const quoted = message('Press it.\n· esc to interrupt\n✻ Thinking… (3s · ↓ 2 tokens)\n1 shell')
    expect(readScreen(screen(`❯ Explain\n\n${quoted}\n\n${OVER}`)).kind).toBe('ready')
  })

  test('about errors and limits is neither', () => {
    const quoted = message("API Error: 500 is what it says.\n⎿  You've hit your 5-hour limit · resets 3pm")
    expect(readScreen(screen(`❯ Explain\n\n${quoted}\n\n${OVER}`)).kind).toBe('ready')
  })

  test('about a dead pane or a finished session is no exit', () => {
    const quoted = message('Resume this session with:\nclaude --resume 1\nPane is dead (status 1)')
    expect(readScreen(screen(`❯ Explain\n\n${quoted}\n\n${OVER}`)).kind).toBe('ready')
  })
})

test('the text a session leaves behind is an exit, also below its last frame', () => {
  const command =
    'claude --settings /tmp/a-rather-long-folder/settings.json --permission-mode def\nault --resume 1'
  const left = `${screen('❯ Go', { footer: BUSY }).trimEnd()}\n\nResume this session with:\n`
  for (const text of [left, `${left}${command}\n`, `${left}${command}\n\n\nPane is dead (status 143)\n`]) {
    expect(readScreen(text).kind).toBe('exited')
  }
  const box = `${RULE}\n❯\n${RULE}\n${FOOTER}\n`
  expect(readScreen(`Resume this session with:\nclaude --resume 1\n${box}`).kind).not.toBe('exited')
  expect(readScreen(screen('❯ Go', { footer: BUSY }), true).kind).toBe('exited')
})

describe('a turn', () => {
  test('whose background work goes on is work, whichever part of the screen says so', () => {
    const over = `❯ Go\n\n${message('Started.')}\n\n`
    const shells = '  ⏵⏵ bypass permissions on · 2 shells, 1 monitor · ← for agents'
    const rows = `${FOOTER}\n\n  ● main\n  ◯ general-purpose  Survey     2s`
    expect(readScreen(screen(over + OVER, { footer: shells })).kind).toBe('working')
    expect(readScreen(screen(over + OVER, { footer: rows })).kind).toBe('working')
    expect(readScreen(screen(`${over}${OVER} · 1 shell still running`)).kind).toBe('working')
    expect(readScreen(screen(`${over}✻ Waiting for 1 background agent to finish`)).kind).toBe('working')
  })

  test('runs also where a narrow footer has no room for the words', () => {
    const footer = '  ⏵⏵ bypass permissions on · esc t…'
    expect(readScreen(screen(`❯ Go\n\n${message('Part one.')}`, { footer })).kind).toBe('working')
  })

  test('that failed is an error without any hint in the box', () => {
    const endings = [
      '❯ Go\n\n● API Error: 400 no',
      '❯ Go\n\n● Please run /login',
      '❯ Go\n\n● Please run /login · API Error: 401 no',
      '❯ Go\n  ⎿  Not logged in · Please run /login',
      '❯ Go\n  ⎿  Credit balance too low · Add funds:\n     https://example.org',
    ]
    expect(endings.map((text) => readScreen(screen(text)).kind)).toEqual(endings.map(() => 'error'))
  })

  test('that a limit stopped is limited, whether it waits or not', () => {
    const hit = "❯ Go\n  ⎿  You've hit your 5-hour limit · resets 3:31pm (UTC)"
    const footer = `  ⚠ Usage limit reached · limit resets 3:31pm\n    Esc to cancel\n${FOOTER}`
    expect(readScreen(screen(hit)).kind).toBe('limited')
    expect(readScreen(screen(`${hit}\n\n● Automatic continue cancelled · /rate-limit-options`)).kind).toBe(
      'limited',
    )
    expect(readScreen(screen('❯ Go\n\n● Some new words', { footer })).kind).toBe('limited')
  })

  test('that a person or a hook stopped is over', () => {
    const endings = [
      '❯ Go\n\n● Part\n  ⎿  Interrupted · What should Claude do instead?',
      '❯ Go\n\n● Write(n.md)\n  ⎿  Rejected write to n.md\n      1 x',
      "❯ Go\n  ⎿  Rejected Claude's plan:\n     x",
      "❯ Go\n\n● Declined to answer Claude's questions:\n  ⎿  · Which? (A / B)",
      '● UserPromptSubmit operation blocked by hook:\n  no',
    ]
    expect(endings.map((text) => readScreen(screen(text)).kind)).toEqual(endings.map(() => 'ready'))
  })
})

describe('markers', () => {
  test('in the middle of a turn do not end it', () => {
    for (const text of ['[DONE]', '[ERROR] no']) {
      expect(readScreen(screen(`❯ Go\n\n${message(text)}`, { footer: BUSY })).kind).toBe('working')
      expect(readScreen(screen(`❯ Go\n\n${message(text)}\n\n✶ Brewing… (3s)`)).kind).toBe('working')
    }
  })

  test('are not looked for in a turn that nothing has ended', () => {
    expect(readScreen(screen(`❯ Go\n\n${message('[ERROR] no')}`)).kind).toBe('unknown')
  })

  test('[ERROR] on the last line of its own is an error', () => {
    for (const text of [
      '[ERROR] no key',
      'Two of three.\n\n[ERROR] no key',
      'Two of three.\n[ERROR] no key',
    ]) {
      expect(readScreen(screen(`❯ Go\n\n${message(text)}\n\n${OVER}`)).kind).toBe('error')
    }
  })

  test('[ERROR] with a reason that wraps is an error', () => {
    const reason = '[ERROR] the remote refused the push because the token holds no right to write to\nit'
    expect(readScreen(screen(`❯ Go\n\n${message(reason)}\n\n${OVER}`)).kind).toBe('error')
  })

  test('[ERROR] before other text, in a sentence, in a prompt or in a result is none', () => {
    const transcripts = [
      message('[ERROR] was the first word.\nNow it is done.'),
      message('[ERROR] no\n\n[DONE]'),
      message('I would write [ERROR] reason.'),
      `● Bash(cat log)\n  ⎿  [ERROR] disk full\n     [ERROR] again`,
    ]
    for (const text of transcripts) {
      expect(readScreen(screen(`❯ Go\n\n${text}\n\n${OVER}`)).kind).toBe('ready')
    }
    expect(readScreen(screen(`❯ Go\n  [ERROR] reason\n\n${OVER}`)).kind).toBe('ready')
  })

  test('[ERROR] that a wrapped sentence may have put first on a line is unknown', () => {
    const text =
      'When a task cannot be finished, then the last line of the message has to be\n[ERROR] reason.'
    expect(readScreen(screen(`❯ Go\n\n${message(text)}\n\n${OVER}`)).kind).toBe('unknown')
  })

  test('[ERROR] beside a background shell is still work', () => {
    const over = `${OVER} · 1 shell still running`
    expect(readScreen(screen(`❯ Go\n\n${message('[ERROR] no')}\n\n${over}`)).kind).toBe('working')
  })
})

describe('the input box', () => {
  test('holds the typed text, and not the hint the client shows in an empty one', () => {
    expect(readScreen(screen('', { typed: 'and then' })).composer).toBe('and then')
    expect(readScreen(screen('', { typed: 'first\n  second' })).composer).toBe('first\nsecond')
    expect(readScreen(screen('', { typed: 'Try "edit app.ts to ..."' })).composer).toBe('')
  })

  test('whose text would run in a shell is not empty, whatever stands in it', () => {
    const shell = (typed: string) =>
      readScreen(screen('', { footer: '  ! for shell mode' }).replace(/^❯ $/m, `! ${typed}`))
    expect([shell(''), shell('ls')]).toMatchObject([
      { kind: 'ready', composer: '!' },
      { kind: 'ready', composer: '!ls' },
    ])
  })

  test('in the middle of a turn does not prove that the turn is over', () => {
    const running = `❯ Go\n\n${message('Part one.')}`
    expect(readScreen(screen(running, { typed: 'wait' })).kind).toBe('unknown')
    expect(readScreen(screen(running, { footer: '  paste again to expand' })).kind).toBe('unknown')
  })

  test('with a footer that is cut, torn or missing is unknown', () => {
    for (const footer of ['', '  ⏵⏵ bypass permissions on (shift+ta', '  ⏵⏵ bypass perm', 'garbage']) {
      expect(readScreen(screen(`❯ Go\n\n${message('Done.')}\n\n${OVER}`, { footer })).kind).toBe('unknown')
    }
  })

  test('under a message or an error that is not on the screen is unknown', () => {
    const box = `${RULE}\n❯\n${RULE}\n${FOOTER}\n`
    expect(readScreen(`\n${box}`).kind).toBe('unknown')
    expect(readScreen(`${OVER}\n\n${box}`).kind).toBe('unknown')
    expect(readScreen(`  last words\n\n${OVER}\n\n${box}`).kind).toBe('ready')
  })

  test('that hints at the cure of an error is an error, whatever the error is called', () => {
    for (const typed of [
      'Resend your message to try again',
      'Once fixed, resend your message',
      'Run /rewind to go back',
    ]) {
      for (const transcript of ['❯ Go\n  ⎿  No such luck', `❯ Go\n\n${message('No such luck.')}`]) {
        expect(readScreen(screen(transcript, { typed }))).toMatchObject({ kind: 'error', composer: '' })
      }
      expect(readScreen(screen('❯ Go', { typed, footer: BUSY })).kind).toBe('working')
    }
  })

  test('that asks to send again is an error', () => {
    const box = `${RULE}\n❯ Once fixed, resend your message\n${RULE}\n${FOOTER}\n`
    expect(readScreen(`\n${box}`)).toMatchObject({ kind: 'error', composer: '' })
  })

  test('that a resize has wrapped is unknown', () => {
    const wrapped = screen(`❯ Go\n\n${message('Done.')}\n\n${OVER}`).replaceAll(
      RULE,
      `${RULE.slice(30)}\n${RULE.slice(50)}`,
    )
    expect(readScreen(wrapped)).toMatchObject({ kind: 'unknown', composer: null })
    const mixed = screen(`❯ Go\n\n${message('Done.')}\n\n${OVER}`).replace(RULE, RULE.slice(20))
    expect(readScreen(mixed)).toMatchObject({ kind: 'unknown', composer: null })
  })

  test('of an earlier frame above a dialog does not hide the dialog', () => {
    expect(readScreen(`${screen('').trimEnd()}\n${PERMISSION}\n`).kind).toBe('waiting')
  })
})

test('a fresh session is ready while its logo moves', () => {
  const logos = [
    LOGO,
    '           Claude Code v2.1.328\n ▐▛███▛█   Opus 5.5 · API Usage Billing\n~▜██████~  /srv/app\n',
    '  █████▌   Claude Code v2.1.328\n ▝█████▛   Opus 5.5 · API Usage Billing\n  ▘▘  ▘▘   /srv/app\n',
  ]
  for (const logo of logos) {
    const hint = screen('', { typed: 'wait', footer: '  paste again to expand' })
    expect(readScreen(hint.replace(LOGO, logo)).kind).toBe('ready')
  }
})

describe('any text', () => {
  test('gets an answer', () => {
    const line = oneof(
      string({ unit: 'binary', maxLength: 120 }),
      constantFrom(
        ...PERMISSION.split('\n'),
        ...screen('').split('\n'),
        RULE,
        BUSY,
        OVER,
        '❯',
        '● a',
        ' ▔▔▔▔▔▔▔▔▔▔▔▔',
      ),
    )
    assert(
      property(array(line, { maxLength: 60 }), boolean(), (lines, dead) => {
        const { kind, dialog } = readScreen(lines.join('\n'), dead)
        expect(kind === 'waiting').toBe(dialog !== null && dialog.kind !== 'limit')
        expect(dead && kind !== 'exited').toBe(false)
      }),
      { numRuns: 500 },
    )
  })

  test('that is garbage is unknown', () => {
    assert(
      property(array(string({ minLength: 1, maxLength: 80 }), { minLength: 1, maxLength: 50 }), (lines) => {
        const text = lines.join('\n')
        pre(text.trim() !== '')
        expect(readScreen(text).kind).toBe('unknown')
      }),
      { numRuns: 300 },
    )
  })

  test('of nothing is unknown, of empty lines a start', () => {
    expect(readScreen('').kind).toBe('unknown')
    expect(readScreen('\n'.repeat(24)).kind).toBe('initializing')
    expect(readScreen(LOGO).kind).toBe('initializing')
  })

  // 1 MiB is far more than a pane can show; the worst of these took 4 ms.
  test.for([
    ['one line', 'x'.repeat(1 << 20)],
    ['rules', `${RULE}\n`.repeat(13_000)],
    ['half rules', '─ '.repeat(1 << 19)],
    ['boxes', `${RULE}\n❯ a\n`.repeat(12_000)],
    ['options', ' ❯ 1. Yes\n   2. No\n'.repeat(50_000)],
    ['spinner marks', '✻ a… (…'.repeat(130_000)],
    ['separators', ' · '.repeat(1 << 18)],
    ['spaces', ' '.repeat(1 << 20)],
    ['empty lines', '\n'.repeat(1 << 20)],
    ['error markers', `${'  [ERROR] a\n'.repeat(80_000)}\n${OVER}\n\n${RULE}\n❯\n${RULE}\n${FOOTER}`],
    ['a dialog of separators', `${RULE}\n${' Do you want to '.repeat(60_000)}\n ❯ 1. Yes\n Esc to cancel`],
  ] as const)('of 1 MiB takes no time that grows with its square: %s', ([, text]) => {
    // The best of three, as other work on the machine may stop any single one.
    const times = [1, 2, 3].map(() => {
      const startedAt = performance.now()
      readScreen(text)
      return performance.now() - startedAt
    })
    expect(Math.min(...times)).toBeLessThan(1000)
  })
})
