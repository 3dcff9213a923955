import { CcmError } from '../core/errors.ts'
import { templateFaults } from '../core/task/template.ts'
import { faultsOf, shown } from '../protocol/faults.ts'
import type { Config, Origin } from './config.ts'
import { overlayEnvironment } from './overlay.ts'
import { CONFIG_FILE, SECTIONS } from './schema.ts'
import { crossFaults } from './cross-faults.ts'
import { type Environment, leafKeys, readFile, readHome, set } from './sources.ts'
import { readTemplateFiles, toTemplate } from './templates.ts'
import { toConfig } from './to-config.ts'
import { flat } from './values.ts'

/**
 * Reads the configuration: `CCM_CONFIG`, else `ccm.toml` in `cwd`, else the user's own, else defaults; over
 * it every `CCM__SECTION__KEY`. Throws one CcmError BAD_CONFIG that lists every fault with its file or variable.
 */
export function loadConfig(env: Environment, cwd: string): Config {
  const faults: string[] = []
  const origins: Record<string, Origin> = {}
  const home = readHome(env, cwd, faults, origins)
  const { file, tree } = readFile(env, cwd, faults)
  origins['file'] = set(env['CCM_CONFIG'])
    ? { from: 'environment', variable: 'CCM_CONFIG' }
    : { from: 'default' }
  for (const [section, shape] of Object.entries(SECTIONS)) {
    for (const key of Object.keys(shape.shape)) origins[`${section}.${key}`] = { from: 'default' }
  }
  if (file !== null) {
    for (const key of leafKeys(tree)) origins[key] = { from: 'file', file }
  }
  overlayEnvironment(tree, env, origins, faults)
  if (file !== null) readTemplateFiles(file, tree, origins, faults)

  const parsed = CONFIG_FILE.safeParse(tree, { jitless: true })
  const issues = parsed.success ? [] : faultsOf(parsed.error.issues, keysAt)
  const where = (path: string[]) => {
    for (let length = path.length; length > 0; length--) {
      const origin = origins[path.slice(0, length).join('.')]
      if (origin?.from === 'environment') return origin.variable
      if (origin?.from === 'file') return shown(origin.file).replace(/^"|"$/g, '')
    }
    return file === null ? 'defaults' : shown(file).replace(/^"|"$/g, '')
  }
  for (const { path, sentence } of [...issues, ...crossFaults(tree)])
    faults.push(`${where(path)}: ${sentence}`)
  const templates = parsed.success ? Object.entries(parsed.data.templates).map(toTemplate) : []
  for (const template of templates) {
    for (const sentence of templateFaults(template))
      faults.push(`${where(['templates', template.name])}: ${sentence}`)
  }
  if (!parsed.success || faults.length > 0) throw badConfig(faults)
  return { home, file, ...toConfig(parsed.data, env), origins, values: flat(parsed.data) }
}

function keysAt(path: string[]): string[] {
  const [section] = path
  if (section === undefined) return Object.keys(SECTIONS)
  return path.length === 1 && Object.hasOwn(SECTIONS, section)
    ? Object.keys(SECTIONS[section as keyof typeof SECTIONS].shape)
    : []
}

function badConfig(faults: string[]): CcmError {
  const [only] = faults
  const message =
    faults.length === 1
      ? `The configuration has a fault. ${only}`
      : `The configuration has ${faults.length} faults:\n${faults.map((fault) => `  ${fault}`).join('\n')}`
  return new CcmError('BAD_CONFIG', message)
}
