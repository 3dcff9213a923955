import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import { expect, test } from 'vitest'

const SRC = resolve(import.meta.dirname, '../src')

/** The rooms of a large folder: which other rooms one may import. What stands beside them wires them, and none imports that. */
const MAY_IMPORT: Record<string, Record<string, string[]>> = {
  supervisor: {
    loops: [],
    shared: ['loops'],
    claims: ['loops', 'shared'],
    incidents: ['loops', 'shared', 'claims'],
    ingest: ['loops'],
    workspaces: ['loops'],
    attempts: ['loops', 'shared', 'claims', 'incidents', 'ingest', 'workspaces'],
    requests: ['loops'],
    upkeep: ['claims', 'incidents'],
  },
  core: {
    agent: [],
    screen: [],
    incident: [],
    task: ['incident'],
    record: ['agent', 'task'],
    permission: ['agent'],
    outside: ['task'],
  },
}
/** But for these, which every room may use. */
const COMMON: Record<string, string[]> = {
  supervisor: ['supervisor-deps.ts'],
  core: [
    'audit.ts',
    'backoff.ts',
    'clip.ts',
    'clock.ts',
    'errors.ts',
    'principal.ts',
    'redact.ts',
    'silence.ts',
  ],
}

/** The room of a file of that folder; a name with `.ts` stands beside the rooms. */
function roomOf(folder: string, file: string): string {
  return relative(join(SRC, folder), file).split(sep)[0] ?? ''
}

function faultsOf(folder: string, file: string, text: string): string[] {
  const from = roomOf(folder, file)
  const specifiers = [...text.matchAll(/\bfrom '(\.[^']+)'|\bimport\('(\.[^']+)'\)/g)]
  return specifiers.flatMap(([, fixed, later]) => {
    const target = resolve(file, '..', fixed ?? later ?? '')
    if (!target.startsWith(join(SRC, folder) + sep) || from.endsWith('.ts')) return []
    const to = roomOf(folder, target)
    const allowed = [from, ...(MAY_IMPORT[folder]?.[from] ?? []), ...(COMMON[folder] ?? [])]
    return allowed.includes(to) ? [] : [`${relative(SRC, file)} may not import ${relative(SRC, target)}`]
  })
}

function sourcesOf(folder: string): string[] {
  return readdirSync(join(SRC, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => join(SRC, folder, name))
}

test.each(Object.keys(MAY_IMPORT))('the rooms of %s import in one direction', (folder) => {
  const files = sourcesOf(folder)
  expect(files.flatMap((file) => faultsOf(folder, file, readFileSync(file, 'utf8')))).toEqual([])
  const rooms = new Set(files.map((file) => roomOf(folder, file)).filter((room) => !room.endsWith('.ts')))
  expect([...rooms].toSorted()).toEqual(Object.keys(MAY_IMPORT[folder] ?? {}).toSorted())
})

test('a planted wrong import is found', () => {
  const planted = (file: string, text: string) => faultsOf(file.split('/')[0] ?? '', join(SRC, file), text)
  expect(planted('supervisor/loops/planted.ts', "import { x } from '../claims/dispatcher.ts'")).toHaveLength(
    1,
  )
  expect(planted('supervisor/claims/planted.ts', "import { x } from '../supervisor.ts'")).toHaveLength(1)
  expect(planted('core/task/planted.ts', "import { x } from '../agent/view.ts'")).toHaveLength(1)
  expect(planted('core/task/planted.ts', "import { x } from '../clip.ts'")).toHaveLength(0)
})
