import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createProjects } from '../../store/projects.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { projectOf, usableDirectory } from './intake.ts'

function prepare() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const projects = createProjects(db)
  const folder = (name: string) => {
    const dir = join(home.folder, name)
    mkdirSync(dir, { recursive: true })
    return realpathSync(dir)
  }
  const of = (dir: string | null, name: string | null = null, trust = false) =>
    projectOf(projects, () => 7, { dir, name, trust })
  return { projects, folder, of, root: home.folder }
}

test('a directory becomes a project under its name, untrusted; the same directory is the same project', () => {
  const { folder, of, projects } = prepare()
  const dir = folder('My App_2')
  expect(of(dir)).toMatchObject({ name: 'my-app-2', dir, trusted: false, createdAt: 7 })
  expect(of(dir).name).toBe('my-app-2')
  expect(projects.list()).toHaveLength(1)
  // Trust is given once and stays.
  expect(of(dir, null, true).trusted).toBe(true)
  expect(of(dir).trusted).toBe(true)
})

test.each([
  ['#(touch x)', 'touch-x'],
  ['$(touch x)', 'touch-x'],
  ['日本', 'project'],
  ['a\nb', 'a-b'],
  ['-', 'project'],
  ['x'.repeat(100), 'x'.repeat(30)],
])('a directory named %j gets the project name %s', (dir, name) => {
  const { folder, of } = prepare()
  expect(of(folder(dir)).name).toBe(name)
})

test('directories of one name get names of their own', () => {
  const { folder, of } = prepare()
  expect(['a/app', 'b/app', 'c/app'].map((name) => of(folder(name)).name)).toEqual(['app', 'app-2', 'app-3'])
})

test('a link and its target are one project', () => {
  const { folder, of, root } = prepare()
  const dir = folder('real')
  symlinkSync(dir, join(root, 'link'))
  expect(of(join(root, 'link'))).toEqual(of(dir))
})

test('a project is found by name, and a name that means another directory is refused', () => {
  const { folder, of } = prepare()
  const dir = folder('one')
  of(dir, 'mine')
  expect(of(null, 'mine').dir).toBe(dir)
  expect(() => of(dir, 'other')).toThrow('is the project mine, not other')
  expect(() => of(null, 'nobody')).toThrow('There is no project "nobody"')
  expect(() => of(null)).toThrow('There is no project')
})

test('what no agent may work in is refused with the reason', () => {
  const { folder, root } = prepare()
  const file = join(folder('x'), 'file')
  writeFileSync(file, '')
  symlinkSync('/', join(root, 'slash'))
  symlinkSync(homedir(), join(root, 'home-link'))
  expect(() => usableDirectory('relative')).toThrow('not an absolute path')
  expect(() => usableDirectory(join(root, 'missing'))).toThrow('There is no directory')
  expect(() => usableDirectory(join(file, 'below'))).toThrow('There is no directory')
  expect(() => usableDirectory(file)).toThrow('is a file')
  for (const dir of ['/', '//', '/tmp/..', join(root, 'slash')]) {
    expect(() => usableDirectory(dir)).toThrow('the root of the file system')
  }
  for (const dir of [homedir(), `${homedir()}/`, join(root, 'home-link')]) {
    expect(() => usableDirectory(dir)).toThrow('your home folder')
  }
  expect(() => usableDirectory(`${root}\0x`)).toThrow('cannot be read')
})
