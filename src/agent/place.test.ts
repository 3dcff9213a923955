import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { judge } from '../core/permission/permission-rule.ts'
import { placeOf } from './place.ts'

function stage() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'ccm-place-')))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const dir = join(folder, 'app')
  mkdirSync(join(dir, 'src'), { recursive: true })
  writeFileSync(join(folder, 'secret'), '')
  const effect = (path: string) => {
    const place = placeOf(path, dir, '/home/me')
    const rules = [{ effect: 'allow', rule: 'Edit(src/**)' } as const]
    return judge(rules, { tool: 'Edit', input: { file_path: path } }, place)?.effect ?? null
  }
  return { folder, dir, effect }
}

test('a file that is there and one that is to come are in the project', () => {
  const { dir, effect } = stage()
  writeFileSync(join(dir, 'src', 'a'), '')
  expect([effect(join(dir, 'src', 'a')), effect('src/new/deep/b'), effect('./src/x/../c')]).toEqual([
    'allow',
    'allow',
    'allow',
  ])
})

test('nothing leads out: no `..`, no link, no link to what is not there yet, no folder that is a link', () => {
  const { folder, dir, effect } = stage()
  symlinkSync(join(folder, 'secret'), join(dir, 'src', 'link'))
  symlinkSync('../../not-yet', join(dir, 'src', 'dangling'))
  symlinkSync(folder, join(dir, 'src', 'out'))
  symlinkSync('loop', join(dir, 'src', 'loop'))
  for (const path of [
    'src/../../secret',
    'src/link',
    'src/dangling',
    'src/out/new',
    'src/loop',
    '~/x',
    '/etc/passwd',
  ])
    expect([path, effect(path)]).toEqual([path, null])
})

test('a project behind a link is the same project', () => {
  const { folder, dir } = stage()
  symlinkSync(dir, join(folder, 'alias'))
  const place = placeOf('src/a', join(folder, 'alias'), '/home/me')
  expect(judge([{ effect: 'allow', rule: 'Edit(src/**)' }], { tool: 'Edit', input: {} }, place)?.effect).toBe(
    'allow',
  )
})
