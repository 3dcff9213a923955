import { expect, test } from 'vitest'
import { describeAsk, isSameAsk } from './ask.ts'
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

test('of a secret at the end of the line no half is left', () => {
  const { text } = createRedactor()
  for (const secret of [
    'postgres://app:S3cretPass@db/x',
    'ghp_abcdefghijklmnopqrstuvwxyz0123456789',
    'A_TOKEN=S3cretPass',
  ])
    for (let before = 150; before < 200; before++) {
      const said = text(
        describeAsk(bash(`${'x '.repeat(before / 2)}${'y'.repeat(before % 2)} ${secret} and more`)),
      )
      expect(said.length).toBeLessThanOrEqual(204)
      expect(said).not.toMatch(/S3c|ghp_a/)
    }
})

test('a long question is cut where its script has no blanks, too', () => {
  const question = '你想'.repeat(200)
  const said = describeAsk({ tool: 'AskUserQuestion', input: { questions: [{ question }] } })
  expect(said).toBe(`${question.slice(0, 199)}…`)
})
