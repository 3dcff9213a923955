import Sqlite from 'better-sqlite3'
import { assert, constantFrom, property, string } from 'fast-check'
import { expect, test } from 'vitest'
import { readSearchQuery, snippetOf } from './search-query.ts'

test.each([
  ['migration failed', '"migration" AND "failed"'],
  ['"migration failed"', '"migration failed"'],
  ['migr*', '"migr"*'],
  ['mi*', '"mi"'],
  ['"the migr"*', '"the migr"*'],
  ['user_id:1', '"user id 1"'],
  ['a NEAR b OR NOT c', '"a" AND "NEAR" AND "b" AND "OR" AND "NOT" AND "c"'],
  ['"unfinished', '"unfinished"'],
  ['Migratio\u0301n', '"Migrati\u00f3n"'],
  ["'; DROP TABLE x; --", '"DROP" AND "TABLE" AND "x"'],
  ['-- ^ { } * ""', null],
  ['', null],
])('%j is asked as %s', (text, match) => {
  expect(readSearchQuery(text)?.match ?? null).toBe(match)
})

test('no text whatever is an error to FTS5, or finds what does not hold its words', () => {
  const db = new Sqlite(':memory:')
  db.exec("CREATE VIRTUAL TABLE f USING fts5(text, content = '', contentless_delete = 1)")
  db.exec("INSERT INTO f (rowid, text) VALUES (1, 'silly fish')")
  const find = db.prepare('SELECT rowid FROM f WHERE f MATCH :match')
  const nasty = string({
    unit: constantFrom(
      ...`ab"*():^+-{}[]\\'NEAR OR NOT AND\0\n`.split(''),
      'ä',
      '\ud83d',
      '€',
      'text',
      'rowid',
    ),
    maxLength: 30,
  })
  assert(
    property(nasty, (text) => {
      const query = readSearchQuery(text)
      const match = query === null ? '"absent"' : `{text} : (${query.match})`
      expect(find.all({ match })).toEqual([])
    }),
    { numRuns: 3000 },
  )
  db.close()
})

test('a snippet shows the words where they stand together, and says where it is cut', () => {
  const text = `failed before. ${'x '.repeat(200)}then the Migratión failed again ${'y '.repeat(200)}`
  const snippet = snippetOf(text, ['migration', 'failed'])
  expect(snippet).toMatch(/^….*Migratión failed again.*…$/)
  expect(snippet.length).toBeLessThan(170)
  expect(snippetOf('short', ['other'])).toBe('short')
})

test('snippets of many long texts hold nobody up', () => {
  const [latin, russian] = ['Größe ab CD é ', 'Проверка миграции ']
  const texts = Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? latin : russian).repeat(1200))
  const from = process.cpuUsage()
  for (const text of texts) expect(snippetOf(`${text}Zebra`, ['zebra'])).toMatch(/Zebra$/)
  const { user, system } = process.cpuUsage(from)
  // 60 ms here, and 610 with each letter taken apart.
  expect((user + system) / 1000, 'ms of processor').toBeLessThan(400)
})
