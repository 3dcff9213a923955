import { expect, test } from 'vitest'
import { defaultProjectSettings } from '../core/task/project.ts'
import type { PermissionRule } from '../core/permission/permission-rule.ts'
import { createPermissionRules } from './permission-rules.ts'
import { createProjects } from './projects.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

const NPM: PermissionRule = { effect: 'allow', rule: 'Bash(npm test:*)' }
const RM: PermissionRule = { effect: 'deny', rule: 'Bash(rm:*)' }

function stage(file: string) {
  const db = openForTest(file)
  const projects = createProjects(db)
  projects.add({ ...defaultProjectSettings(), name: 'app', dir: '/code/app', trusted: true, createdAt: 1 })
  return { db, projects, rules: createPermissionRules(db) }
}

test('rules are kept in order, and one rule has one effect', () => {
  using home = temporaryHome()
  const { rules } = stage(home.file)
  rules.change('app', { set: [NPM, RM], remove: [] })
  rules.change('app', { set: [{ ...NPM, effect: 'ask' }], remove: [] })
  expect(rules.of('app')).toEqual([{ ...NPM, effect: 'ask' }, RM])
  expect(rules.of('other')).toEqual([])
})

test('a rule keeps its place when another one is removed or changed', () => {
  using home = temporaryHome()
  const { rules } = stage(home.file)
  rules.change('app', { set: [NPM, RM], remove: [] })
  const [, before] = rules.placed('app')
  rules.change('app', { set: [{ ...RM, effect: 'ask' }], remove: [NPM.rule] })
  expect(rules.placed('app')).toEqual([{ ...before, effect: 'ask' }])
})

test('a change with a fault anywhere changes nothing', () => {
  using home = temporaryHome()
  const { rules } = stage(home.file)
  rules.change('app', { set: [NPM], remove: [] })
  expect(() => rules.change('app', { set: [RM, { effect: 'allow', rule: 'Bash(' }], remove: [] })).toThrow(
    expect.objectContaining({ code: 'BAD_INPUT' }),
  )
  expect(() => rules.change('app', { set: [RM], remove: ['Bash(x)'] })).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND', remedy: expect.stringContaining('ccm projects rules app') }),
  )
  expect(rules.of('app')).toEqual([NPM])
})

test('the rules of a project go with it', () => {
  using home = temporaryHome()
  const { rules, projects } = stage(home.file)
  rules.change('app', { set: [NPM], remove: [] })
  projects.remove('app')
  expect(rules.of('app')).toEqual([])
})
