import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { parse as parseToml, TomlError } from 'smol-toml'
import { messageOf } from '../core/errors.ts'
import type { Origin } from './config.ts'

/** Variables as `process.env` has them. */
export type Environment = Record<string, string | undefined>

/** A file of TOML as it was read: nothing in it is checked. */
export type Tree = Record<string, unknown>

/** The absolute folder of all state: `CCM_HOME`, else the place XDG names for it. */
export function readHome(
  env: Environment,
  cwd: string,
  faults: string[],
  origins: Record<string, Origin>,
): string {
  const given = env['CCM_HOME']
  origins['home'] = set(given) ? { from: 'environment', variable: 'CCM_HOME' } : { from: 'default' }
  const state = absolute(env['XDG_STATE_HOME']) ?? join(userHome(env), '.local/state')
  const home = set(given) ? resolve(cwd, given) : join(state, 'ccm')
  if (hasControl(home))
    faults.push(`${set(given) ? 'CCM_HOME' : 'home'}: it must be a path without control characters.`)
  return home
}

/** The first file there is of the named one, that of `cwd` and the user's own. What cannot be read is a fault, and empty. */
export function readFile(
  env: Environment,
  cwd: string,
  faults: string[],
): { file: string | null; tree: Tree } {
  const named = env['CCM_CONFIG']
  const user = absolute(env['XDG_CONFIG_HOME']) ?? join(userHome(env), '.config')
  const candidates = set(named)
    ? [resolve(cwd, named)]
    : [resolve(cwd, 'ccm.toml'), join(user, 'ccm', 'ccm.toml')]
  for (const file of candidates) {
    const name = hasControl(file) ? JSON.stringify(file) : file
    try {
      return { file, tree: parseToml(readFileSync(file, 'utf8')) }
    } catch (error) {
      if (error instanceof TomlError) {
        // Only the first line: the rest quotes the file, which may hold keys of [claude.env].
        const first = error.message.split('\n', 1)[0]
        faults.push(`${name}: line ${error.line}, column ${error.column}: ${first}.`)
        return { file, tree: {} }
      }
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        if (set(named)) faults.push(`CCM_CONFIG: there is no file ${name}.`)
        continue
      }
      faults.push(`${name}: it cannot be read (${code ?? messageOf(error)}).`)
      return { file, tree: {} }
    }
  }
  return { file: null, tree: {} }
}

/** Dotted names of the values in a tree: two levels, and three inside `claude.env`. */
export function leafKeys(tree: Tree): string[] {
  return Object.entries(tree).flatMap(([section, table]) =>
    isTable(table)
      ? Object.entries(table).flatMap(([key, value]) =>
          section === 'claude' && key === 'env' && isTable(value)
            ? Object.keys(value).map((name) => `claude.env.${name}`)
            : [`${section}.${key}`],
        )
      : [],
  )
}

/** Whether a value of TOML is a table. */
export function isTable(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** Whether a variable says something: an empty one does not. */
export function set(value: string | undefined): value is string {
  return value !== undefined && value !== ''
}

/** The XDG rules ignore relative paths. */
function absolute(path: string | undefined): string | null {
  return path !== undefined && isAbsolute(path) ? path : null
}

/** The home folder of the user, from `HOME` where that is absolute. */
export function userHome(env: Environment): string {
  return absolute(env['HOME']) ?? homedir()
}

function hasControl(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\x00-\x1f\x7f]/.test(text)
}
