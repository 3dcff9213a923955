import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createSkimmer, type SkimLimits } from './skim-json.ts'

function skim(text: string, limits: SkimLimits, chunk = 7): string {
  const bytes = new TextEncoder().encode(text)
  const skimmer = createSkimmer(limits)
  for (let at = 0; at < bytes.length; at += chunk) skimmer.push(bytes.subarray(at, at + chunk))
  return new TextDecoder('utf8', { fatal: true }).decode(skimmer.end())
}

test('what is short stays as it is, byte for byte', () => {
  const text = '{ "a" : [1, true, null, "ä\\u00e4\\\\\\"😀"], "b":{}}\n'
  expect(skim(text, { text: 100, total: 1000 })).toBe(text)
})

test('any JSON stays JSON within its limits, wherever it is cut', () => {
  const limits = { text: 16, total: 100 }
  const json = fc.oneof(
    fc.json({ maxDepth: 6 }),
    fc.array(fc.json(), { maxLength: 30 }).map((parts) => `[${parts.join(',')}]`),
  )
  const texts = fc
    .string({ unit: 'binary', maxLength: 200 })
    .map((text) => JSON.stringify({ text, deep: { text } }))
  fc.assert(
    fc.property(fc.oneof(json, texts), fc.integer({ min: 1, max: 50 }), (text, chunk) => {
      const kept = skim(text, limits, chunk)
      expect(() => JSON.parse(kept)).not.toThrow()
      expect(kept.length).toBeLessThan(2000)
    }),
    { numRuns: 3000 },
  )
})

test('the end of a text is kept at the top, and of others only the start', () => {
  const long = `${'a'.repeat(50)}${'b'.repeat(50)}_DONE_`
  const kept = JSON.parse(
    skim(JSON.stringify({ message: long, input: { text: long } }), { text: 10, total: 1000 }),
  )
  expect(kept).toEqual({
    message: 'aaaaaaaaaa… (86 bytes) …bbbb_DONE_',
    input: { text: 'aaaaaaaaaa… (96 bytes) …' },
  })
})

test('a word that is cut goes as a whole, at both sides of what is left out', () => {
  const text = `one two\n${'k'.repeat(20)} ${'x '.repeat(50)}${'s'.repeat(20)}"three`
  const kept = JSON.parse(skim(JSON.stringify({ text, deep: { text } }), { text: 20, total: 1000 }))
  expect(kept).toEqual({
    text: 'one two\n… (143 bytes) …three',
    deep: { text: 'one two\n… (148 bytes) …' },
  })
})

test('what stands behind a huge part arrives all the same', () => {
  const huge = Array.from({ length: 1000 }, (_, index) => ({ index }))
  const kept = JSON.parse(
    skim(JSON.stringify({ name: 'PostToolUse', huge, id: 'x' }), { text: 100, total: 200 }),
  )
  expect(kept).toMatchObject({ name: 'PostToolUse', id: 'x' })
  expect(kept.huge.length).toBeLessThan(30)
})

test('many keys at the top end somewhere, and what nests without end is given up', () => {
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`k${index}`, index]))
  expect(skim(JSON.stringify(many), { text: 100, total: 1000 }).length).toBeLessThan(2100)
  expect(skim('['.repeat(100_000), { text: 100, total: 1000 })).toBe('')
})
