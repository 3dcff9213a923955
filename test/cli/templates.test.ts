import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createCommandLine, serveDaemon } from './command-line.ts'

test('a template is added, copied by what show prints, replaced and removed', async () => {
  const daemon = await serveDaemon()
  const ccm = (...argv: string[]) => createCommandLine(daemon.home).ccm('templates', ...argv)
  expect(
    await ccm('add', 'greet', 'Say hello to {{who}}.', '--var', 'who', '--about', 'Greets'),
  ).toMatchObject({
    code: 0,
    stdout: 'Added: greet\n',
  })
  expect((await ccm('list')).stdout).toMatch(/greet +database +who +Greets/)
  const shown = (await ccm('show', 'greet', '--json')).stdout
  const file = join(daemon.home, 'greet.json')
  writeFileSync(file, shown)
  expect((await ccm('add', 'greet', '--from', file)).stderr).toContain('There is a template greet already')
  expect((await ccm('add', 'copy', '--from', file)).code).toBe(0)
  expect((await ccm('add', 'greet', '--from', file, '--replace')).code).toBe(0)
  const { name: _name, ...copy } = JSON.parse((await ccm('show', 'copy', '--json')).stdout) as {
    name: string
  }
  expect(JSON.parse(shown)).toEqual({ ...copy, name: 'greet' })
  expect((await ccm('add', 'none')).code).toBe(2)
  expect((await ccm('remove', 'greet')).stdout).toBe('Removed: greet\n')
  expect((await ccm('show', 'greet')).code).not.toBe(0)
})
