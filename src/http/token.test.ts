import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readOrCreateToken } from './token.ts'

function place(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-token-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return join(folder, 'home', 'token')
}

test('a new token is 32 random bytes that only its owner can read, and stays', () => {
  const file = place()
  const umask = process.umask(0)
  onTestFinished(() => void process.umask(umask))
  const { token, notice } = readOrCreateToken(file)
  expect(Buffer.from(token, 'base64url')).toHaveLength(32)
  expect(notice).toBeNull()
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(statSync(join(file, '..')).mode & 0o777).toBe(0o700)
  expect(readFileSync(file, 'utf8')).toBe(`${token}\n`)
  expect(readOrCreateToken(file)).toEqual({ token, notice: null })
  expect(readdirSync(join(file, '..'))).toEqual(['token'])
  expect(readOrCreateToken(place()).token).not.toBe(token)
})

test.each([0o604, 0o640, 0o620, 0o777])('a token with mode %o is replaced, which is said', (mode) => {
  const file = place()
  const { token } = readOrCreateToken(file)
  chmodSync(file, mode)
  const mended = readOrCreateToken(file)
  expect(mended.token).not.toBe(token)
  expect(mended.notice).toContain(`mode 0${mode.toString(8)}`)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readOrCreateToken(file)).toEqual({ token: mended.token, notice: null })
})

test.each(['', 'short', 'x'.repeat(44), `${'x'.repeat(42)}!`])(
  'a file that holds %j gets a new token',
  (text) => {
    const file = place()
    readOrCreateToken(file)
    writeFileSync(file, text)
    const { token, notice } = readOrCreateToken(file)
    expect(token).toMatch(/^[\w-]{43}$/)
    expect(notice).toContain('held no token')
  },
)

test('a link is refused, so that nobody else chooses the token', () => {
  const file = place()
  const { token } = readOrCreateToken(file)
  const link = `${file}-link`
  symlinkSync(file, link)
  expect(() => readOrCreateToken(link)).toThrow(expect.objectContaining({ code: 'BAD_CONFIG' }))
  expect(readOrCreateToken(file).token).toBe(token)
})
