import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const DIST = resolve(import.meta.dirname, '../dist')

/** The files of the bundle that these load at once, themselves included. */
function loadedBy(...files: string[]): string[] {
  const found = new Set(files)
  for (const file of found) {
    const text = readFileSync(join(DIST, file), 'utf8')
    for (const [, name = ''] of text.matchAll(/^(?:import|\} from|import .* from) "\.\/([^"]+)";$/gm))
      found.add(name)
  }
  return [...found]
}

/** The packages that these files hold, by the comment that esbuild writes over each source. */
function packagesIn(files: string[]): Set<string> {
  const found = files.flatMap((file) => {
    const text = readFileSync(join(DIST, file), 'utf8')
    return [...text.matchAll(/^ *\/\/ \S*node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\/\S+$/gm)].map(
      ([, name = '']) => name,
    )
  })
  return new Set(found)
}

const SELDOM = [
  '@clack/prompts',
  '@hono/node-server',
  '@pydantic/genai-prices',
  '@supabase/supabase-js',
  'grammy',
  'jose',
  'pg',
  'pino-roll',
  'prom-client',
]

test('the bundle holds the packages that few daemons need, and a plain start loads none of them', () => {
  const all = packagesIn(readdirSync(DIST).filter((name) => name.endsWith('.js')))
  expect([...all]).toEqual(expect.arrayContaining([...SELDOM, 'zod', 'hono', 'execa']))
  const atStart = packagesIn(loadedBy('cli.js', 'daemon.js'))
  expect([...atStart]).toEqual(expect.arrayContaining(['zod', 'hono', 'execa']))
  expect(SELDOM.filter((name) => atStart.has(name))).toEqual([])
})

test('the daemon’s modules load none of the parts of Node that cost memory and a start', () => {
  const script = `await import(${JSON.stringify(join(DIST, 'daemon.js'))}); console.log(JSON.stringify(process.moduleLoadList))`
  const loaded = JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }),
  ) as string[]
  expect(loaded).toContain('NativeModule net')
  const costly = ['internal/deps/undici/undici', 'http2', 'tls', 'https', 'zlib', 'inspector']
  expect(costly.filter((name) => loaded.includes(`NativeModule ${name}`))).toEqual([])
})

test('no file of the bundle makes V8 keep it at two bytes a character', () => {
  const files = readdirSync(DIST).filter((name) => name.endsWith('.js'))
  expect(files).toContain('daemon.js')
  // oxlint-disable-next-line no-control-regex -- all of ASCII is what is meant
  expect(files.filter((name) => /[^\0-\x7f]/.test(readFileSync(join(DIST, name), 'utf8')))).toEqual([])
})
