import { expect, test } from 'vitest'
import { isSameAsk } from './ask.ts'
import { createRedactor } from '../redact.ts'

const bash = (command: string) => ({ tool: 'Bash', input: { command } })

test('a request that was read back without its secrets is the same request', () => {
  const live = bash('DB_PASSWORD=hunter2 run --token abc123 "$(cat x)"')
  const stored = createRedactor().value(live)
  expect(JSON.stringify(stored)).not.toContain('hunter2')
  expect([isSameAsk(stored, live), isSameAsk(live, stored)]).toEqual([true, true])
  expect(isSameAsk(bash('touch a… (90 bytes) …'), bash(`touch a${'b'.repeat(90)}`))).toBe(true)
})

test('another request is another', () => {
  expect(isSameAsk(bash('touch a'), bash('touch b'))).toBe(false)
  expect(isSameAsk(bash('A=*** run'), bash('A=1 walk'))).toBe(false)
  expect(isSameAsk(bash('ab***ba'), bash('aba'))).toBe(false)
  expect(isSameAsk(bash('touch a'), { tool: 'Write', input: { command: 'touch a' } })).toBe(false)
})
