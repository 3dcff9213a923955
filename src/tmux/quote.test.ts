import { expect, test } from 'vitest'
import { THEN, type Command } from './command.ts'
import { quote, quoteFormat, replyCount, toLine } from './quote.ts'

test('an argument stands in single quotes, its own quotes outside of them', () => {
  expect(quote(`it's $HOME #{pid}; {`)).toBe(`'it'\\''s $HOME #{pid}; {'`)
  expect(quote('')).toBe(`''`)
})

test.each(['a\nb', 'a\0b', 'half \ud83d'])('%j cannot be an argument', (argument) => {
  expect(() => quote(argument)).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
})

test('a semicolon of the data is quoted, THEN is a separator', () => {
  expect(toLine(['a', ';', 'b;', THEN, 'c'])).toBe(`'a' ';' 'b;' ; 'c'`)
  expect(replyCount(['a', ';', THEN, 'b', THEN, 'c'])).toBe(3)
})

test.each<[Command]>([[[]], [[THEN]], [['a', THEN]], [[THEN, 'a']], [['a', THEN, THEN, 'b']]])(
  'an empty command is refused, because an empty line detaches the client (case %#)',
  (command) => {
    expect(() => toLine(command)).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
  },
)

test('a path for a format keeps its number signs', () => {
  expect(quoteFormat('/tmp/#(touch x)/#{pid}')).toBe('/tmp/##(touch x)/##{pid}')
})
