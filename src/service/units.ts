import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CcmError } from '../core/errors.ts'

/** What a service is made for. */
export type ServicePlace = {
  /** The package's folder, which holds the templates. */
  packageFolder: string
  node: string
  ccm: string
  home: string
  /** A system service runs as this user; null: a service of the user who installs it. */
  user: string | null
  /** Variables of the daemon: CCM_HOME, PATH, … */
  environment: Record<string, string>
}

/** A service file as it should be: its name and text, the last line of which tells whether somebody edited it. */
export type ServiceFile = { name: string; text: string }

/** Names of the systemd units, in the order they are started. */
export const UNITS = ['ccm-tmux.service', 'ccm.service'] as const
/** Name of the launchd agent's file. */
export const PLIST = 'ccm.daemon.plist'

/** Hides nothing of the machine's files but what no daemon of a person writes; a root daemon may need all of it. */
const HARDENING = [
  'CapabilityBoundingSet=',
  'ProtectClock=yes',
  'ProtectKernelModules=yes',
  'ProtectHostname=yes',
]

/** Both units for this place. Throws BAD_CONFIG for a path or value that no unit can hold. */
export function systemdUnits(place: ServicePlace): ServiceFile[] {
  const isSystem = place.user !== null
  const values: Record<string, string> = {
    NODE: unitWord(place.node),
    CCM: unitWord(place.ccm),
    // Of a path that is a value by itself, only % means something.
    HOME: plain(place.home).replaceAll('%', '%%'),
    USER: isSystem ? `User=${plain(place.user ?? '')}` : '',
    ENVIRONMENT: Object.entries({ ...place.environment, CCM_SERVICE: isSystem ? 'system' : 'user' })
      .map(([name, value]) => `Environment=${unitWord(`${name}=${value}`, false)}`)
      .join('\n'),
    HARDENING: isSystem && place.user !== 'root' ? HARDENING.join('\n') : '',
    TARGET: isSystem ? 'multi-user.target' : 'default.target',
  }
  return UNITS.map((name) => ({
    name,
    text: sealed(fill(readFileSync(join(place.packageFolder, 'systemd', name), 'utf8'), values), '#', ''),
  }))
}

/** The launchd agent for this place. */
export function launchdAgent(place: ServicePlace): ServiceFile {
  const entries = Object.entries({ ...place.environment, CCM_SERVICE: 'launchd' })
  const values: Record<string, string> = {
    NODE: xml(place.node),
    CCM: xml(place.ccm),
    HOME: xml(place.home),
    ENVIRONMENT: entries
      .map(([name, value]) => `      <key>${xml(name)}</key>\n      <string>${xml(value)}</string>`)
      .join('\n'),
  }
  const template = readFileSync(join(place.packageFolder, 'launchd', PLIST), 'utf8')
  return { name: PLIST, text: sealed(fill(template, values), '<!--', ' -->') }
}

/** True when the text is as some version of ccm wrote it. */
export function isUntouched(text: string): boolean {
  const found = /^([\s\S]*\n)(?:#|<!--) written by ccm: ([0-9a-f]{16})(?: -->)?\n$/.exec(text)
  return found?.[1] !== undefined && digest(found[1]) === found[2]
}

function sealed(text: string, open: string, close: string): string {
  return `${text}${open} written by ccm: ${digest(text)}${close}\n`
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

/** Empty placeholders take their line with them. */
function fill(template: string, values: Record<string, string>): string {
  return template
    .replace(/^@([A-Z]+)@\n/gm, (_, name: string) => (values[name] ? `${values[name]}\n` : ''))
    .replace(/@([A-Z]+)@/g, (_, name: string) => values[name] ?? '')
}

/** Text as one word of a unit's line; in a command line `$` stands for a variable as well. */
export function unitWord(text: string, isCommand = true): string {
  const escaped = plain(text).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%')
  return `"${isCommand ? escaped.replaceAll('$', '$$$$') : escaped}"`
}

function xml(text: string): string {
  return plain(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  if (!/[\x00-\x1f\x7f]/.test(text)) return text
  throw new CcmError('BAD_CONFIG', `${JSON.stringify(text)} cannot stand in a service file.`, {
    remedy: 'Use paths and variables without line breaks and control characters.',
  })
}
