import { assert, property, string } from 'fast-check'
import { expect, test } from 'vitest'
import { renderTemplate, templateFaults, templateWithin, type Template, type Variable } from './template.ts'

const text: Variable = { type: 'text', required: true, default: null, choices: [] }

function template(prompt: string, variables: Template['variables'] = {}): Template {
  return {
    name: 'review',
    description: '',
    prompt,
    variables,
    role: null,
    model: null,
    permissionMode: null,
    allowedTools: [],
    disallowedTools: [],
    timeoutS: null,
    maxTokens: null,
    maxCostUsd: null,
    restricted: false,
  }
}

test('what a value holds is never read as a variable again, whatever it is', () => {
  const two = template('a {{one}} b {{ two }} c {{one}}', { one: text, two: text })
  assert(
    property(string({ unit: 'binary' }), string(), (one, two_) => {
      expect(renderTemplate(two, { one: `{{two}}$&$1${one}`, two: `${two_}{{one}}` })).toEqual({
        prompt: `a {{two}}$&$1${one} b ${two_}{{one}} c {{two}}$&$1${one}`,
      })
    }),
  )
})

test('missing, unknown and unfit values are told all at once', () => {
  const typed = template('{{what}} {{count}} {{kind}} {{more}}', {
    what: text,
    count: { type: 'number', required: true, default: '3', choices: [] },
    kind: { type: 'choice', required: true, default: null, choices: ['bug', 'idea'] },
    more: { ...text, required: false },
  })
  expect(renderTemplate(typed, { wat: 'x', count: '3; rm', kind: 'bugs' })).toEqual({
    faults: [
      'The template review has no variable "wat"; it has what, count, kind, more.',
      'The template review needs the variable what.',
      'The variable count of the template review must be a number.',
      'The variable kind of the template review must be one of bug, idea.',
    ],
  })
  expect(renderTemplate(typed, { what: 'x', kind: 'bug' })).toEqual({ prompt: 'x 3 bug ' })
  expect(renderTemplate(typed, { what: 'x', kind: 'idea', count: -1.5 })).toEqual({ prompt: 'x -1.5 idea ' })
})

test('names of every object are no variables', () => {
  expect(renderTemplate(template('{{constructor}}', { constructor: text }), {})).toEqual({
    faults: ['The template review needs the variable constructor.'],
  })
})

test('a template that nobody could use is a fault of the configuration', () => {
  const bad = template('{{a}} {{b}} {{outside}}', {
    a: { type: 'choice', required: true, default: null, choices: [] },
    c: { type: 'number', required: true, default: 'many', choices: [] },
    d: { ...text, choices: ['x'] },
  })
  expect(templateFaults(bad)).toEqual([
    'The template review uses {{b}}, which is none of its variables.',
    'The variable a of the template review has no choices.',
    'The variable c of the template review must be a number.',
    'The variable d of the template review has choices, and is a text.',
  ])
  expect(templateFaults(template('{{a}}', { a: text }))).toEqual([])
})

test('text from outside goes to its place, or to the end, and is never read as a variable', () => {
  const values = { one: '{{outside}}' }
  expect(renderTemplate(template('{{outside}} {{one}}', { one: text }), values, 'BLOCK {{one}}')).toEqual({
    prompt: 'BLOCK {{one}} {{outside}}',
  })
  expect(renderTemplate(template('{{one}}\n', { one: text }), values, 'BLOCK')).toEqual({
    prompt: '{{outside}}\n\nBLOCK',
  })
})

test('no value is longer than a prompt takes, and no variable has the name of the text from outside', () => {
  const one = template('{{one}}', { one: text })
  expect(renderTemplate(one, { one: 'x'.repeat(50_000) })).toHaveProperty('prompt')
  expect(renderTemplate(one, { one: 'x'.repeat(50_001) })).toEqual({
    faults: ['The variable one of the template review is longer than 50000 characters.'],
  })
  expect(templateFaults(template('{{outside}}', { outside: text }))).toEqual([
    'The template review has a variable outside, which is reserved.',
  ])
})

test('a template gives the rights that whoever may write it may give', () => {
  const limits = {
    project: { permissionMode: 'acceptEdits', allowedTools: ['Edit', 'Bash'] },
    outside: { permissionMode: 'plan', allowedTools: ['Edit'] },
  } as const
  const rights = (storedIn: 'file' | 'database' | 'supabase', isRestricted: boolean) => {
    const wide = { permissionMode: 'bypassPermissions', allowedTools: ['Edit', 'Bash', 'WebFetch'] } as const
    const given = { ...template('x'), ...wide, allowedTools: [...wide.allowedTools], storedIn }
    const { permissionMode, allowedTools } = templateWithin(given, isRestricted, limits)
    return `${permissionMode}: ${allowedTools.join()}`
  }
  expect(rights('file', true)).toBe('bypassPermissions: Edit,Bash,WebFetch')
  expect(rights('database', false)).toBe('bypassPermissions: Edit,Bash,WebFetch')
  expect(rights('database', true)).toBe('plan: Edit')
  expect(rights('supabase', false)).toBe('acceptEdits: Edit,Bash')
  expect(rights('supabase', true)).toBe('plan: Edit')
})
