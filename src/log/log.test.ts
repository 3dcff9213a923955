import { expect, test } from 'vitest'
import { createLogger } from './log.ts'

function capture(terminal = false) {
  const lines: string[] = []
  return {
    lines,
    logger: createLogger({ level: 'info', stream: { write: (line) => void lines.push(line) }, terminal }),
  }
}

test('a line is JSON with its level as a word, its time and its keys', () => {
  const { logger, lines } = capture()
  logger.info({ taskId: 'a', attempt: 2 }, 'attempt started')
  logger.debug('not wanted')
  expect(lines).toHaveLength(1)
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>
  expect(line).toEqual({
    level: 'info',
    time: expect.any(String),
    taskId: 'a',
    attempt: 2,
    msg: 'attempt started',
  })
})

test.each(['sk-ant-api03-AbCd_123456', 'ghp_0123456789abcdef', 'sb_secret_0123456789'])(
  'the credential %s never reaches the log',
  (secret) => {
    for (const terminal of [false, true]) {
      const { logger, lines } = capture(terminal)
      logger.info(`key ${secret} refused`)
      logger.error({ err: new Error(`bad ${secret}`, { cause: new Error(secret) }) }, 'failed')
      expect(lines).toHaveLength(2)
      expect(lines.join('')).not.toContain(secret)
      expect(lines.join('')).toContain('***')
    }
  },
)

test.each([['Authorization: Bearer abc.def-123'], ['ANTHROPIC_API_KEY=abc.def-123 claude']])(
  '%j is logged without its value',
  (text) => {
    const { logger, lines } = capture()
    logger.info(text)
    logger.info({ apiKey: 'abc.def-123', authToken: 'abc.def-123"x' }, 'keys')
    expect(lines.join('')).not.toContain('abc.def-123')
    for (const line of lines) JSON.parse(line)
  },
)

test('a terminal gets one plain line without escape sequences', () => {
  const { logger, lines } = capture(true)
  logger.warn({ taskId: 'a', err: new Error('first\n\u001b[31msecond\u0007') }, 'attempt failed')
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d warn {2}attempt failed taskId=a first second \n$/)
})
