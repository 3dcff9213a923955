import { expect, test } from 'vitest'
import { createProjects, type Project } from './projects.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

function projectOf(name: string, dir: string, more: Partial<Project> = {}): Project {
  return {
    name,
    dir,
    trusted: false,
    model: null,
    permissionMode: null,
    allowedTools: [],
    disallowedTools: [],
    createdAt: 5,
    ...more,
  }
}

test('a project is found by name and by directory, with everything it was added with', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const projects = createProjects(db)
  const full = projectOf('app', '/code/app', {
    trusted: true,
    model: 'claude-sonnet-4-5',
    permissionMode: 'plan',
    allowedTools: ['Bash(git log:*)'],
    disallowedTools: ['WebFetch'],
  })
  projects.add(full)
  projects.add(projectOf('a', '/code/a'))
  expect(projects.byName('app')).toEqual(full)
  expect(projects.byDir('/code/app')).toEqual(full)
  expect(projects.byName('none')).toBeNull()
  expect(projects.byDir('/code')).toBeNull()
  expect(projects.list().map(({ name }) => name)).toEqual(['a', 'app'])
  db.close()
})

test('a name and a directory belong to one project', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const projects = createProjects(db)
  projects.add(projectOf('app', '/code/app'))
  const conflict = expect.objectContaining({
    code: 'CONFLICT',
    message: expect.stringContaining('/code/app'),
  })
  expect(() => projects.add(projectOf('app', '/code/other'))).toThrow(conflict)
  expect(() => projects.add(projectOf('other', '/code/app'))).toThrow(conflict)
  db.close()
})

test('only trusted projects may be claimed from, and trust can be taken back', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const projects = createProjects(db)
  projects.add(projectOf('a', '/a'))
  projects.add(projectOf('b', '/b', { trusted: true }))
  expect(projects.trustedNames()).toEqual(['b'])
  expect(projects.setTrusted('a', true)).toBe(true)
  expect(projects.setTrusted('b', false)).toBe(true)
  expect(projects.setTrusted('none', true)).toBe(false)
  expect(projects.trustedNames()).toEqual(['a'])
  db.close()
})
