import { expect, test } from 'vitest'
import { defaultProjectSettings } from '../core/task/project.ts'
import { createProjects, type Project } from './projects.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

function projectOf(name: string, dir: string, more: Partial<Project> = {}): Project {
  return {
    name,
    dir,
    trusted: false,
    createdAt: 5,
    ...defaultProjectSettings(),
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
    maxRunning: 2,
    paused: true,
    timeoutS: 90,
    priority: -3,
    inPlace: true,
    setup: ['npm ci', "echo 'a'"],
    setupTimeoutS: 60,
    copy: ['.env'],
    link: ['node_modules'],
    maxTokens: 1000,
    maxCostUsd: 0.25,
    maxTokensPerDay: 5000,
    maxCostUsdPerDay: 10,
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

test('an update changes what it names and nothing else, and a removed project is gone', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const projects = createProjects(db)
  const before = projectOf('app', '/code/app', { trusted: true, model: 'claude-x', copy: ['.env'] })
  projects.add(before)
  projects.add(projectOf('b', '/b'))
  const after = projects.update('app', { model: null, paused: true, setup: ['make'] })
  expect(after).toEqual({ ...before, model: null, paused: true, setup: ['make'] })
  expect(projects.byName('app')).toEqual(after)
  expect(projects.byName('b')).toEqual(projectOf('b', '/b'))
  expect(projects.update('none', { paused: true })).toBeNull()
  expect(() => projects.update('app', { maxRunning: 0, model: 'y' })).toThrow('CHECK')
  expect(projects.byName('app')).toEqual(after)
  expect(projects.remove('app')).toEqual(after)
  expect(projects.remove('app')).toBeNull()
  expect(projects.list().map(({ name }) => name)).toEqual(['b'])
  db.close()
})
