import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startPostgres, whyNoPostgres } from '../support/postgres.ts'

const whyNot = await whyNoPostgres()
const reason = whyNot === null ? '' : ` [${whyNot}]`

test.skipIf(whyNot !== null)(`a test that is killed leaves no server and no folder${reason}`, async () => {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../support/hold-postgres.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const { port, folder } = JSON.parse(line.toString()) as { port: number; folder: string }
  const answers = async (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${port}`).then(
      () => true,
      (error: unknown) => !/ECONNREFUSED/.test(String(error instanceof Error ? error.cause : error)),
    )
  expect([await answers(), existsSync(folder)]).toEqual([true, true])
  child.kill('SIGKILL')
  await expect.poll(answers, { timeout: 10_000 }).toBe(false)
  await expect.poll(() => existsSync(folder), { timeout: 10_000 }).toBe(false)
})

test.skipIf(whyNot !== null)(
  `a server that is closed while it starts ends all the same${reason}`,
  async () => {
    const postgres = await startPostgres(['fsync=off'])
    const crashed = postgres.command('crash')
    await Promise.allSettled([crashed, postgres[Symbol.asyncDispose]()])
    expect(existsSync(postgres.folder)).toBe(false)
    await expect(postgres.command('start')).rejects.toThrow('closed')
  },
)
