import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { openForTest, temporaryHome } from './temporary-database.ts'
import type { Database } from './database.ts'
import { rescue } from './rescue.ts'

type Meta = { key: string; value: string }
const insertInto = (db: Database) => db.prepare<Meta>('INSERT INTO meta VALUES (:key, :value)')
const keysOf = (db: Database) =>
  db
    .prepare<Record<string, never>, Meta>('SELECT * FROM meta ORDER BY key')
    .all({})
    .map(({ key }) => key)

test.each([
  ['the file alone', ['']],
  ['the file and its log', ['', '-wal', '-shm']],
])('%s deleted under an open database: the next write puts all of it back', (_what, suffixes) => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const insert = insertInto(db)
  insert.run({ key: 'a', value: '' })
  for (const suffix of suffixes) rmSync(home.file + suffix, { force: true })
  expect(db.isStillThere()).toBe(false)
  db.transaction(() => insert.run({ key: 'b', value: '' }))
  expect(db.isStillThere()).toBe(true)
  expect(db.notices).toEqual([expect.stringContaining('was deleted while it was in use')])
  expect(statSync(home.file).mode & 0o777).toBe(0o600)
  insert.run({ key: 'c', value: '' })
  db.close()
  const again = openForTest(home.file)
  expect(keysOf(again)).toEqual(['a', 'b', 'c'])
  expect(again.prepare('PRAGMA synchronous').get({})).toEqual({ synchronous: 2 })
  again.close()
  expect(readdirSync(dirname(home.file))).toEqual(['ccm.db'])
})

test('a write outside a transaction, a whole folder that is gone, and a look alone put it back too', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const insert = insertInto(db)
  rmSync(dirname(home.file), { recursive: true })
  insert.run({ key: 'a', value: '' })
  rmSync(home.file)
  expect([db.mend(), db.mend()]).toEqual([true, false])
  db.close()
  const again = openForTest(home.file)
  expect(keysOf(again)).toEqual(['a'])
  again.close()
})

test('a file that was put in its place is moved aside and stays whole', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  insertInto(db).run({ key: 'a', value: '' })
  writeFileSync(`${home.file}.new`, 'something else')
  renameSync(`${home.file}.new`, home.file)
  expect(db.mend()).toBe(true)
  const aside = readdirSync(dirname(home.file)).find((name) => name.includes('.foreign-')) ?? ''
  expect(readFileSync(`${dirname(home.file)}/${aside}`, 'utf8')).toBe('something else')
  expect(db.notices).toEqual([expect.stringContaining(aside)])
  expect(keysOf(db)).toEqual(['a'])
  db.close()
})

test('what a crash in the middle of the copy left does not keep it from being put back', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  insertInto(db).run({ key: 'a', value: '' })
  writeFileSync(`${home.file}.rescue-part`, 'half a copy')
  rmSync(home.file)
  expect(db.mend()).toBe(true)
  expect(keysOf(db)).toEqual(['a'])
  db.close()
})

test('a crash as soon as the open file is let go of finds the copy', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  insertInto(db).run({ key: 'a', value: '' })
  db.close()
  const native = new Sqlite(home.file)
  native.pragma('user_version')
  rmSync(home.file)
  const letGo = native.close.bind(native)
  native.close = () => {
    letGo()
    throw new Error('killed')
  }
  expect(() => rescue(native, home.file, 0)).toThrow('killed')
  const again = openForTest(home.file)
  expect(keysOf(again)).toEqual(['a'])
  again.close()
})

test('a database that was closed is not put back into a folder that is gone', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const insert = insertInto(db)
  db.close()
  rmSync(dirname(home.file), { recursive: true })
  expect(() => insert.run({ key: 'a', value: '' })).toThrow('The database is closed.')
  expect(existsSync(dirname(home.file))).toBe(false)
})

test('a crash between the copy and its place loses nothing, and the log of the file that is gone does not mix in', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  insertInto(db).run({ key: 'a', value: '' })
  db.prepare<{ file: string }>('VACUUM INTO :file').run({ file: `${home.file}.rescue` })
  insertInto(db).run({ key: 'ghost', value: '' })
  cpSync(`${home.file}-wal`, `${home.file}.kept`)
  db.close()
  rmSync(home.file)
  renameSync(`${home.file}.kept`, `${home.file}-wal`)
  const again = openForTest(home.file)
  expect(keysOf(again)).toEqual(['a'])
  expect(again.notices).toEqual([])
  again.close()
  expect(existsSync(`${home.file}.rescue`)).toBe(false)
})

test('a crash while another file stands in its place loses nothing either', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  insertInto(db).run({ key: 'a', value: '' })
  db.close()
  const native = new Sqlite(home.file)
  rmSync(home.file)
  writeFileSync(home.file, 'something else')
  // As a kill would, this ends it before the other file is aside.
  mkdirSync(`${home.file}.foreign-19700101T000000.000Z/x`, { recursive: true })
  expect(() => rescue(native, home.file, 0)).toThrow(/EISDIR|ENOTEMPTY/)
  const again = openForTest(home.file)
  expect(keysOf(again)).toEqual(['a'])
  expect(again.notices).toEqual([expect.stringContaining('.foreign-')])
  again.close()
  const kept = readdirSync(dirname(home.file))
    .filter((name) => name.includes('.foreign-'))
    .toSorted()
  expect(readFileSync(`${dirname(home.file)}/${kept.at(-1)}`, 'utf8')).toBe('something else')
})

test('a database from before free pages were given back learns it at its next start', () => {
  using home = temporaryHome()
  mkdirSync(dirname(home.file), { recursive: true })
  const older = new Sqlite(home.file)
  older.exec('CREATE TABLE older (x)')
  older.close()
  const db = openForTest(home.file)
  expect(db.prepare('PRAGMA auto_vacuum').get({})).toEqual({ auto_vacuum: 2 })
  db.close()
})

test('a large one from before does not hold up the start for it', () => {
  using home = temporaryHome()
  mkdirSync(dirname(home.file), { recursive: true })
  const older = new Sqlite(home.file)
  older.exec(
    'PRAGMA synchronous = OFF; CREATE TABLE older (x); INSERT INTO older VALUES (zeroblob(68000000))',
  )
  older.close()
  const db = openForTest(home.file)
  expect(db.prepare('PRAGMA auto_vacuum').get({})).toEqual({ auto_vacuum: 0 })
  db.close()
})

test('a new database gives free pages back', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const insert = insertInto(db)
  insert.run({ key: 'large', value: 'x'.repeat(1_000_000) })
  const used = db.usedBytes()
  db.prepare('DELETE FROM meta').run({})
  expect(db.usedBytes()).toBeLessThan(used - 900_000)
  for (let round = 0; round < 40; round++) db.shrink(10)
  db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').all({})
  expect(statSync(home.file).size).toBeLessThan(used - 900_000)
  db.close()
})
