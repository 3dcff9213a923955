import { expect, test } from 'vitest'
import { toArgument, toMessage } from './prompt.ts'

const argumentOf = (prompt: string) => toArgument(prompt, '/attempt/prompt.txt')

test.each([
  'Fix it',
  '  two blanks before, newlines and blanks after \n\n ',
  'a\tb\r\nc\r\n',
  '-x',
  '!touch x',
  '# note',
  '@parser.ts',
  'exit now',
  '$(touch x) `touch x` #(touch x) "q" \'q\' \\ ;',
  'e\u0301 \u212b \u1100\u1161',
  '\u{1f469}\u200d\u{1f4bb}\u{1f3f3}\ufe0f\u200d\u{1f308}\u{1f44d}\u{1f3fd}\u{1f1e9}\u{1f1ea} \u2764\ufe0f 1\ufe0f\u20e3',
  '\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}',
  '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0915\u094d\u200d\u0937',
])('%j is given as it is', (prompt) => {
  expect(argumentOf(prompt)).toEqual({ argument: prompt, inFile: false })
})

test.each([
  '\u001b[31mred',
  'a\rb',
  '\u0085',
  'a\u2028b',
  'a\u200bb',
  '\ufeffa',
  'a\u202eb',
  'soft\u00adhyphen',
  'a\u200db',
  'a\ufe0f',
  '\u2764\ufe0f\ufe0f',
  '\u{1f469}\u200da',
  '\u0628\u200c\u200c\u0628',
  '\u{1f3f4}\u{e0067}\u{e007f}',
  '\u845b\u{e0100}',
  '\u3164',
])('%j goes through the file, because Claude Code would change it', (prompt) => {
  const { argument, inFile } = argumentOf(prompt)
  expect(inFile).toBe(true)
  expect(argument).toContain('/attempt/prompt.txt')
})

test.each(['/clear', ' \n/clear', '\u00a0/clear', 'exit', ' quit\n', ':q', ':q!', ':wq', ':wq!'])(
  '%j is text and no command',
  (prompt) => {
    expect(argumentOf(prompt).argument).toBe(`The task is this text:\n${prompt}`)
    expect(toMessage(prompt)).toBe(`The answer is this text:\n${prompt}`)
  },
)

test('in the input box a leading ! would run in a shell, so it gets a line before it', () => {
  expect(toMessage('!touch x')).toBe('The answer is this text:\n!touch x')
  expect(toMessage('Yes!')).toBe('Yes!')
})

test('in the input box a command is one also behind characters that Claude Code drops', () => {
  for (const text of ['\u200b/clear', '\ufeff!touch x', '\u001b/clear', '\u200bexit', 'exit\u202e'])
    expect(toMessage(text)).toBe(`The answer is this text:\n${text}`)
})

test('in the input box a backslash at the end would make a newline of the Enter, so it gets a blank', () => {
  expect(toMessage('C:\\')).toBe('C:\\ ')
  expect(toMessage('C:\\\u200b')).toBe('C:\\\u200b ')
  expect(toMessage('C:\\ \\n')).toBe('C:\\ \\n')
})

test('100 KiB of any characters are looked at in no time', () => {
  const startedAt = performance.now()
  for (const text of ['\u200d', '\u{1f469}\u200d', '\u0628\u200c', '\u{1f3f4}\u{e0067}', '\r', '0']) {
    argumentOf(text.repeat((100 * 1024) / text.length))
  }
  expect(performance.now() - startedAt).toBeLessThan(20_000)
})
