import { expect, test } from 'vitest'
import { oneLine, printable, toJsonText, visible } from './printable.ts'

test.each([
  ['a colour', '\u001b[31mred\u001b[0m', 'red'],
  ['a clear screen', '\u001b[2J\u001b[Htop', 'top'],
  ['a title, ended by BEL', '\u001b]0;title\u0007text', 'text'],
  ['a title, ended by ST', '\u001b]0;title\u001b\\text', 'text'],
  ['a clipboard write without an end', 'a\u001b]52;c;aGk=', 'a'],
  ['the one-character forms of C1', '\u009b31mred\u009d0;t\u009cx', 'redx'],
  ['a lone escape', 'a\u001b', 'a'],
  ['a carriage return that overwrites', 'safe\revil', 'safeevil'],
  ['backspaces', 'ab\b\bxy', 'abxy'],
  ['text that runs backwards', 'a\u202eb\u2066c', 'abc'],
  ['a tag that nobody sees', 'a\u{e0041}b', 'ab'],
])('%s is gone', (_, text, expected) => {
  expect(printable(text)).toBe(expected)
})

test('newlines, tabs, umlauts, emoji with joiners and right-to-left words stay', () => {
  const text = 'ä\tb\n👩‍💻 שלום نمی‌خواهم'
  expect(printable(text)).toBe(text)
  expect(printable('a\r\nb')).toBe('a\nb')
})

test('one line is cut by characters, not in the middle of one', () => {
  expect(oneLine(' a\n\n b\t c ')).toBe('a b c')
  expect(oneLine('😀😀😀😀', 3)).toBe('😀😀…')
})

test('what a person approves hides nothing: each character that would not show is written out', () => {
  expect(visible('rm\u001b[2K\r\u202e\u200d\u200bx\n\ty')).toBe(
    String.raw`rm\x1b[2K\x0d\u{202e}\u{200d}\u{200b}x` + '\n\ty',
  )
})

test('JSON has nothing that a terminal acts on or that turns text around, and is read as what it was', () => {
  const controls = Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code))
    .filter((c) => c < ' ' || c > '~')
    .join('')
  const text = `${controls}\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069 ä שלום 👩‍💻`
  for (const indent of [undefined, 2]) {
    const json = toJsonText({ [text]: [text] }, indent)
    expect(json.replaceAll('\n', '')).not.toMatch(/[^\P{C}\u200d]|[\u2028\u2029]/u)
    expect(JSON.parse(json)).toEqual({ [text]: [text] })
  }
  expect(toJsonText('\u009b31m\u202e')).toBe(String.raw`"\u009b31m\u202e"`)
})
