import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import { expect, test } from 'vitest'

const SRC = resolve(import.meta.dirname, '../src')

/** Which folders of src a folder may import, besides itself. `root` stands for the files directly in src. */
const MAY_IMPORT: Record<string, string[]> = {
  core: [],
  protocol: ['core'],
  tmux: ['core'],
  store: ['core'],
  queue: ['core'],
  agent: ['core', 'tmux'],
  notify: ['core'],
  telegram: ['core'],
  supervisor: ['core', 'agent', 'tmux', 'store', 'queue'],
  http: ['core', 'protocol', 'supervisor', 'store'],
  client: ['core', 'protocol'],
  cli: ['client', 'protocol', 'core', 'tmux', 'store', 'queue', 'demo', 'service'],
  demo: ['core'],
  service: ['core'],
  log: ['core'],
  config: ['core', 'protocol'],
  daemon: [
    'core',
    'protocol',
    'agent',
    'tmux',
    'store',
    'queue',
    'supervisor',
    'http',
    'notify',
    'telegram',
    'service',
    'log',
    'config',
  ],
}
/** Folders that stay free of node: and of packages, but for those named. */
const MAY_USE: Record<string, string[]> = { core: [], protocol: ['zod', 'fastest-levenshtein'], client: [] }

type Import = { file: string; from: string; specifier: string }

function faultsOf(imports: Import[]): string[] {
  return imports.flatMap(({ file, from, specifier }) => {
    const fault = (why: string) => [`${file} imports ${specifier}: ${why}`]
    if (!specifier.startsWith('.')) {
      const allowed = MAY_USE[from]
      return allowed === undefined || allowed.includes(specifier) ? [] : fault(`${from} uses no packages`)
    }
    const target = relative(SRC, resolve(SRC, file, '..', specifier))
    if (target.startsWith('..')) return fault('it leaves src')
    const to = target.includes(sep) ? (target.split(sep)[0] ?? '') : 'root'
    if (from === 'root' || from === to) return []
    if (to === 'root') return fault('nothing imports a root file')
    return MAY_IMPORT[from]?.includes(to) ? [] : fault(`${from} may not import ${to}`)
  })
}

function importsOf(file: string, text: string): Import[] {
  const from = file.includes(sep) ? (file.split(sep)[0] ?? '') : 'root'
  const specifiers = text.matchAll(
    /^\s*(?:import|export)\s(?:[^'"`;=()]*?\sfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm,
  )
  return [...specifiers].map((match) => ({ file, from, specifier: match[1] ?? match[2] ?? '' }))
}

function sources(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.endsWith('.d.ts'),
  )
}

test('every import goes where the house allows it', () => {
  const files = sources()
  expect(files.length).toBeGreaterThan(40)
  expect(files.flatMap((file) => faultsOf(importsOf(file, readFileSync(join(SRC, file), 'utf8'))))).toEqual(
    [],
  )
})

test('every folder of src has a row in the table', () => {
  const folders = new Set(
    sources()
      .filter((file) => file.includes(sep))
      .map((file) => file.split(sep)[0]),
  )
  expect([...folders].filter((folder) => !(folder !== undefined && folder in MAY_IMPORT))).toEqual([])
})

test('CONTRIBUTING.md shows the same table', () => {
  const text = readFileSync(join(SRC, '../CONTRIBUTING.md'), 'utf8')
  const shown = text.matchAll(/^\| (?!folder of src)([a-z][a-z, ]*?) +\|.*\| ([a-z][a-z, ]*?) +\|$/gm)
  const names = (list: string) => (list === 'nothing' ? [] : list.split(', '))
  const table = [...shown].flatMap(([, folders = '', list = '']) => {
    const [, allBut] = /^all but (.*)$/.exec(list) ?? []
    return names(folders).map((folder): [string, string[]] => [
      folder,
      allBut === undefined
        ? names(list)
        : Object.keys(MAY_IMPORT).filter((name) => name !== folder && !names(allBut).includes(name)),
    ])
  })
  const sorted = (rows: [string, string[]][]) =>
    Object.fromEntries(rows.map(([folder, list]) => [folder, list.toSorted()]))
  expect(sorted(table)).toEqual(sorted(Object.entries(MAY_IMPORT)))
})

test('a planted wrong import is found', () => {
  const planted = [
    importsOf('core/planted.ts', `import { readFileSync } from 'node:fs'`),
    importsOf('store/planted.ts', `import type { Queue } from '../queue/sqlite.ts'`),
    importsOf('http/planted.ts', `import { runDaemon } from '../main.ts'`),
    importsOf('supervisor/planted.ts', `import type { Config } from '../config/config.ts'`),
    importsOf('client/planted.ts', `const later = await import('../store/database.ts')`),
    importsOf('agent/planted.ts', `export {\n  a,\n} from '../supervisor/runner.ts'`),
  ]
  expect(planted.map((imports) => faultsOf(imports).length)).toEqual([1, 1, 1, 1, 1, 1])
})

test('core reads no clock and waits for nothing', () => {
  const impure = sources()
    .filter((file) => file.startsWith(`core${sep}`))
    .filter((file) =>
      /\bDate\.now\b|\bnew Date\(\)|\bawait\b|\bsetTimeout\b|\bMath\.random\b/.test(
        readFileSync(join(SRC, file), 'utf8'),
      ),
    )
  expect(impure).toEqual([])
})

test('no pid that may be missing becomes 0: to the kernel that is every process of our own group', () => {
  const roots = [SRC, import.meta.dirname, resolve(SRC, '../bench')]
  const files = roots.flatMap((root) =>
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => join(root, file)),
  )
  expect(files.length).toBeGreaterThan(300)
  const suspects = files.filter((file) => /\bkill\([^)\n]*\?\? ?0/.test(readFileSync(file, 'utf8')))
  expect(suspects).toEqual([])
})
