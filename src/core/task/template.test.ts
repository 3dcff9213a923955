import { assert, property, string } from 'fast-check'
import { expect, test } from 'vitest'
import { renderTemplate, templateFaults, type Template, type Variable } from './template.ts'

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
