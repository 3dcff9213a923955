import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readSecret, type SecretSource } from './secrets.ts'

function place() {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-secret-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'secret')
  writeFileSync(file, 's3cret\n', { mode: 0o600 })
  return { folder, file }
}

const read = (source: SecretSource, env: Record<string, string> = {}) => readSecret('auth.key', source, env)

test('a secret comes from the config, a variable, a file, a credential or a program', async () => {
  const { folder, file } = place()
  expect(await read('')).toBeNull()
  expect(await read('plain')).toBe('plain')
  expect(await read({ env: 'X' }, { X: 'from-env' })).toBe('from-env')
  expect(await read({ file })).toBe('s3cret')
  expect(await read({ credential: 'secret' }, { CREDENTIALS_DIRECTORY: folder })).toBe('s3cret')
  expect(await read({ command: ['printf', 'a b\\n'] })).toBe('a b')
})

test.each([0o640, 0o604, 0o660])('a file of mode %o is refused', async (mode) => {
  const { file } = place()
  chmodSync(file, mode)
  await expect(read({ file })).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringContaining('other users may read'),
    remedy: `chmod 600 ${file}`,
  })
})

test('a link is judged by what it leads to', async () => {
  const { folder, file } = place()
  symlinkSync(file, join(folder, 'link'))
  expect(await read({ file: join(folder, 'link') })).toBe('s3cret')
  chmodSync(file, 0o644)
  await expect(read({ file: join(folder, 'link') })).rejects.toThrow('other users')
})

test.each([
  ['a variable that is not set', { env: 'NONE' }, 'NONE'],
  ['a file that is not there', { file: '/none/x' }, 'ENOENT'],
  ['a folder', { file: tmpdir() }, ''],
  ['no systemd credential', { credential: 'x' }, 'systemd'],
  ['a program that fails', { command: ['sh', '-c', 'echo s3cret; echo s3cret >&2; exit 3'] }, 'failed (3)'],
  ['a program that is not there', { command: ['/none/op'] }, 'ENOENT'],
  ['a program that prints nothing', { command: ['true'] }, 'empty'],
  ['two lines', { command: ['printf', 's3cret\\nb'] }, 'more than one line'],
] as [string, SecretSource, string][])('%s is told without the secret', async (_, source, words) => {
  const error = await read(source).catch((thrown: Error) => thrown)
  expect(String(error)).toContain(words)
  expect(JSON.stringify([String(error), error])).not.toContain('s3cret')
})

test('a credential cannot lead out of its folder', async () => {
  const { folder } = place()
  mkdirSync(join(folder, 'credentials'))
  await expect(
    read({ credential: '../secret' }, { CREDENTIALS_DIRECTORY: join(folder, 'credentials') }),
  ).rejects.toMatchObject({ code: 'BAD_CONFIG' })
})

test('a credential that is hidden is none', async () => {
  const { folder } = place()
  writeFileSync(join(folder, '.hidden'), 's3cret', { mode: 0o600 })
  await expect(read({ credential: '.hidden' }, { CREDENTIALS_DIRECTORY: folder })).rejects.toThrow(
    'names no credential',
  )
})

test('what is too large for a secret is told, and a pipe that nobody writes holds nothing up', async () => {
  const { folder } = place()
  const [large, pipe] = [join(folder, 'large'), join(folder, 'pipe')]
  writeFileSync(large, 'x'.repeat(64 * 1024 + 1), { mode: 0o600 })
  await expect(read({ file: large })).rejects.toThrow('larger than 64 KiB')
  execFileSync('mkfifo', ['-m', '600', pipe])
  // In a program of its own, as whoever waits for the pipe can be told nothing.
  const module = new URL('secrets.ts', import.meta.url).href
  const program = `import { readSecret } from '${module}'
await readSecret('auth.key', { file: ${JSON.stringify(pipe)} }, {}).catch((error) => console.log(error.message))`
  const node = ['--input-type=module', '--eval', program]
  expect(execFileSync(process.execPath, node, { timeout: 15_000, encoding: 'utf8' })).toContain('is empty')
  const endless = read({ command: ['head', '-c', '70000', '/dev/zero'] })
  await expect(endless).rejects.toThrow('ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
})
