import { expect, test } from 'vitest'
import { readEnding, withoutMarker, type Ending } from './marker.ts'

const markers = { done: '[DONE]', error: '[ERROR]' }
const done: Ending = { kind: 'done' }
const asks: Ending = { kind: 'asks' }
const unmarked: Ending = { kind: 'unmarked' }
const error = (reason: string): Ending => ({ kind: 'error', reason })

const table: [name: string, message: string, ending: Ending][] = [
  // The marker itself.
  ['nothing but the marker', '[DONE]', done],
  ['a summary and the marker', 'Fixed the parser; all 14 tests pass.\n\n[DONE]', done],
  ['no blank line before it', 'Fixed the parser.\n[DONE]', done],
  ['blank lines and spaces after it', 'Fixed.\n\n[DONE]  \n\n  \n', done],
  ['Windows line ends', 'Fixed.\r\n\r\n[DONE]\r\n', done],
  ['three spaces before it', 'Fixed.\n   [DONE]', done],
  ['bold', 'Fixed.\n\n**[DONE]**', done],
  ['italics', 'Fixed.\n\n_[DONE]_', done],
  ['after a closed code fence', 'Ran:\n```sh\nnpm test\n```\n[DONE]', done],
  ['after a fence of tildes', '~~~\n```\n~~~\n[DONE]', done],
  ['after a fence inside a list', '1. Run\n\n   ```sh\n   make\n   ```\n\n[DONE]', done],
  ['after code within one line', '```make```\n[DONE]', done],
  ['after a question it does not wait for', 'Should I go on? I did.\n\n[DONE]', done],
  ['German', 'Der Parser ist repariert, alle Tests laufen durch.\n\n[DONE]', done],
  ['Japanese', 'パーサーを修正しました。\n\n[DONE]', done],
  ['Arabic', 'تم إصلاح المحلل.\n\n[DONE]', done],
  // Text about the marker.
  ['in the middle of a sentence', 'I will say [DONE] when the tests pass.', unmarked],
  ['at the end of a sentence', 'Everything is finished. [DONE]', unmarked],
  ['in a fence', 'The script prints:\n```\n[DONE]\n```', unmarked],
  ['in a fence that was never closed', 'Output:\n```\nok\n[DONE]', unmarked],
  ['a shorter fence closes nothing', '````\n```\n[DONE]', unmarked],
  ['in a quote', 'The task says:\n> [DONE]', unmarked],
  ['in an indented block', 'The log ends with:\n\n    [DONE]', unmarked],
  ['in backticks', 'The last line must be\n`[DONE]`', unmarked],
  ['in a list', 'Steps:\n- [DONE]', unmarked],
  ['other letters', 'Fixed.\n[done]', unmarked],
  ['with a full stop', 'Fixed.\n[DONE].', unmarked],
  ['prose after it', '[DONE]\n\nI also noticed a typo in the README.', unmarked],
  ['a question after it', '[DONE]\n\nShall I push it too?', asks],
  // Errors.
  ['an error', '[ERROR] The repository has no tests.', error('The repository has no tests.')],
  ['an error after text', 'I tried three ways.\n\n[ERROR] no network', error('no network')],
  ['an error with a colon', '[ERROR]: no network', error('no network')],
  ['a bold marker', '**[ERROR]** no network', error('no network')],
  ['all bold', '**[ERROR] no network**', error('no network')],
  ['no space', '[ERROR]没有网络', error('没有网络')],
  ['no reason', '[ERROR]', error('')],
  ['a reason of two lines', '[ERROR] no network:\ncurl says 7\n\n', error('no network:\ncurl says 7')],
  ['a reason that asks', '[ERROR] Is the file lost?', error('Is the file lost?')],
  ['a printed error', 'Maven said:\n[ERROR] BUILD FAILURE\n\nI fixed the pom since.', unmarked],
  ['a printed error, then done', '[ERROR] BUILD FAILURE\n\nFixed since.\n\n[DONE]', done],
  ['done, then an error', '[DONE]\n\n[ERROR] pushing was refused', error('pushing was refused')],
  ['an error, then done at once', '[ERROR] flaky\n[DONE]', done],
  ['a link', '[ERROR](https://example.org) explains it', unmarked],
  ['an error in a fence', '```\n[ERROR] x\n```', unmarked],
  // Questions.
  ['a question', 'There are two parsers. Which one should I fix?', asks],
  ['a bold question', '**Which one should I fix?**', asks],
  ['in brackets', 'I would delete it (is that fine?)', asks],
  ['in quotes', 'The form says “Really delete?”', asks],
  ['with an emoji', 'Shall I go on? 🙂', asks],
  ['with a joined emoji', 'Shall I go on? 👩🏽‍💻', asks],
  ['question and exclamation', 'Really all of them?!', asks],
  ['Chinese', '要我继续吗？', asks],
  ['Japanese in brackets', '「続けますか？」', asks],
  ['Arabic question', 'هل أتابع؟', asks],
  ['Greek question', 'Να συνεχίσω\u037E', asks],
  ['Spanish', 'Encontré dos archivos. ¿Cuál borro?', asks],
  ['Russian', 'Мне продолжать?', asks],
  ['choices under a question', 'Which one?\n\n1. The old parser\n2. The new parser', asks],
  ['wrapped choices', 'Which one?\n- The old parser,\n  with its tests\n- The new parser', asks],
  ['an order to choose', 'A or B would work.\n\nPlease choose one.', asks],
  ['asked to tell', 'Both work. Let me know which you prefer.', asks],
  // No question.
  ['politeness', 'All tests pass. Let me know if you need anything else.', unmarked],
  ['a statement', 'All tests pass.', unmarked],
  ['nothing', '', unmarked],
  ['only blank lines', ' \n\n', unmarked],
  ['a question answered', 'Why did it fail? The path was wrong.', unmarked],
  ['a question earlier', 'Why did it fail?\n\nThe path was wrong.', unmarked],
  ['one remark under a question', 'Why?\n\n- The path was wrong.', unmarked],
  ['a quoted question', 'The prompt says:\n> Which one?', unmarked],
  ['a question in code', 'It prints:\n```\nContinue?\n```', unmarked],
  ['a code ending with a mark', 'I replaced it by `a?`', unmarked],
  ['a list of what was done', 'Changes:\n\n1. The old parser\n2. The new parser', unmarked],
]

test.each(table)('reads the ending of a message: %s', (_name, message, ending) => {
  expect(readEnding(message, markers)).toEqual(ending)
})

test('takes the markers of the configuration, also those that are special in patterns', () => {
  const own = { done: '*** done (ok)?', error: '$FAIL' }
  expect(readEnding('x\n*** done (ok)?', own)).toEqual(done)
  expect(readEnding('x\n[DONE]', own)).toEqual(unmarked)
  expect(readEnding('$FAIL no disk', own)).toEqual(error('no disk'))
})

test('gives the message back without the marker that ends it', () => {
  expect(withoutMarker('\nFixed.\n\n[DONE]\n', markers)).toBe('Fixed.')
  expect(withoutMarker('Tried.\n\n**[ERROR]** no network\nat all', markers)).toBe(
    'Tried.\n\nno network\nat all',
  )
  expect(withoutMarker('[DONE]', markers)).toBe('')
  expect(withoutMarker('Printed:\n```\n[DONE]\n```\n', markers)).toBe('Printed:\n```\n[DONE]\n```')
  expect(withoutMarker('[DONE]\n\nmore', markers)).toBe('[DONE]\n\nmore')
})

test('the time for hostile text grows with its length, not with its square', () => {
  // CPU time of this process: the wall clock says more about the machine's other work.
  const before = process.cpuUsage()
  for (const piece of ['```\n', '[DONE]\n', '> ', '*', '? ', '- a\n', '\n', '[ERROR] ', '_*', '?)', ')a']) {
    readEnding(piece.repeat(200_000 / piece.length), markers)
  }
  const { user, system } = process.cpuUsage(before)
  // 0.15 s as it is; the square would take more than 10 s.
  expect((user + system) / 1000).toBeLessThan(6_000)
})
