import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import type { Writable } from 'node:stream'
import { pino } from 'pino'
import { parse as parseToml } from 'smol-toml'
import { CcmError } from '../core/errors.ts'
import { checkSupabase, type SupabaseCheck } from '../queue/supabase/check.ts'
import { keyFault } from '../queue/supabase/key.ts'
import type { SupabaseAccess } from '../queue/supabase/client.ts'
import { tryTask } from '../queue/supabase/trial.ts'
import { migratePostgres, printMigrations, readPostgresMigrations } from '../queue/supabase/migrate.ts'
import { printJson, type CliContext } from './context.ts'
import { findPackageRoot } from './package-root.ts'
import { oneLine } from './printable.ts'
import { createPaint } from './terminal.ts'

export type InitOptions = {
  url?: string
  secretKey?: string
  system?: string
  dbUrl?: string
  print?: boolean
  json?: boolean
}

/** Where the migrations are. */
export function migrationsFolder(): string {
  return join(findPackageRoot(import.meta.url).folder, 'migrations/postgres')
}

/**
 * Asks for what is not given, looks at the project step by step, brings its tables up to date where a connection
 * string is given, sees a task through, and writes `[supabase]` into the configuration. True: all of that worked.
 */
export async function initSupabase(context: CliContext, options: InitOptions): Promise<boolean> {
  if (options.print === true) {
    context.stdout.write(printMigrations(readPostgresMigrations(migrationsFolder())))
    return true
  }
  const access = await askAll(context, options)
  const logger = pino({ level: 'silent' })
  const checks: SupabaseCheck[] = []
  const show = (more: SupabaseCheck[]) => {
    checks.push(...more)
    if (options.json !== true) for (const check of more) context.stdout.write(`${lineOf(context, check)}\n`)
  }
  const dbUrl = options.dbUrl ?? context.env['CCM_DB_URL']
  const migrated = dbUrl !== undefined && keyFault(access.secretKey) === null
  if (migrated) {
    const { applied } = await migratePostgres(dbUrl, readPostgresMigrations(migrationsFolder()))
    const detail = applied.length === 0 ? 'up to date' : `applied ${applied.join(', ')}`
    show([{ name: 'migrations', state: 'ok', detail, remedy: null }])
  }
  show(await checkSupabase(access, { make: true, migrated, logger }))
  if (checks.every(({ state }) => state === 'ok')) show([await tryOut(access)])
  const isWell = checks.every(({ state }) => state === 'ok')
  const file = isWell
    ? writeSettings(context, access, (await context.config().catch(() => null))?.file ?? null)
    : null
  if (options.json === true) printJson(context, { ok: isWell, checks, file })
  else if (file !== null)
    context.stdout.write(
      `Written to ${file}. Next: ccm restart, and insert a row with a prompt into the table tasks.\n`,
    )
  return isWell
}

async function tryOut(access: SupabaseAccess): Promise<SupabaseCheck> {
  try {
    const { claimedMs, by } = await tryTask(access, pino({ level: 'silent' }))
    const how = by === 'event' ? 'heard of by Realtime' : 'found by looking'
    const detail = `a task was inserted, ${how}, claimed after ${Math.round(claimedMs)} ms and finished`
    return { name: 'trial', state: 'ok', detail, remedy: null }
  } catch (error) {
    if (!(error instanceof CcmError)) throw error
    return { name: 'trial', state: 'failed', detail: error.message, remedy: error.remedy ?? null }
  }
}

async function askAll(context: CliContext, options: InitOptions): Promise<SupabaseAccess> {
  const given = {
    url: options.url ?? context.env['CCM__SUPABASE__URL'],
    secretKey: options.secretKey ?? context.env['CCM__SUPABASE__SECRET_KEY'],
    system: options.system ?? context.env['CCM__SUPABASE__SYSTEM'],
  }
  const isTerminal = context.stdin.isTTY === true && options.json !== true
  if (!isTerminal && (given.url === undefined || given.secretKey === undefined)) {
    throw new CcmError('BAD_INPUT', 'Off a terminal the URL and the secret key must be given.', {
      remedy: 'Use --url, and CCM__SUPABASE__SECRET_KEY, which keeps the key out of `ps`.',
    })
  }
  const { text, password, isCancel } = await import('@clack/prompts')
  const on = { input: context.stdin, output: context.stdout as unknown as Writable }
  const ask = async (from: string | undefined, prompt: () => Promise<string | symbol | undefined>) => {
    if (from !== undefined) return from.trim()
    const answer = await prompt()
    if (answer === undefined || isCancel(answer)) throw new CcmError('BAD_INPUT', 'Nothing was changed.')
    return String(answer).trim()
  }
  const url = await ask(given.url, () =>
    text({ ...on, message: 'URL of the project', placeholder: 'https://REF.supabase.co' }),
  )
  const secretKey = await ask(given.secretKey, () => password({ ...on, message: 'Secret key (sb_secret_…)' }))
  const system = await ask(given.system ?? (isTerminal ? undefined : 'default'), () =>
    text({ ...on, message: 'Name of the system', initialValue: 'default' }),
  )
  if (!/^https:\/\/[^\s?#]+$/.test(url) && !/^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?\/?$/.test(url))
    throw new CcmError('BAD_INPUT', `${JSON.stringify(url)} is no https URL.`, {
      remedy: 'Copy the URL of the project from the dashboard: https://REF.supabase.co',
    })
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(system))
    throw new CcmError('BAD_INPUT', 'The name of the system must be a-z, 0-9 and -, at most 63 characters.')
  return { url: url.replace(/\/+$/, ''), secretKey, system }
}

function lineOf(context: CliContext, { name, state, detail, remedy }: SupabaseCheck): string {
  const paint = createPaint(context.stdout, context.env)
  const mark = state === 'ok' ? paint.green('ok    ') : paint.red('FAILED')
  const line = `${mark}  ${name.padEnd(10)}  ${oneLine(detail, 500)}`
  return remedy === null
    ? line
    : `${line}\n        ${''.padEnd(10)}  ${paint.dim('->')} ${oneLine(remedy, 300)}`
}

/** Replaces the table `[supabase]` of the file, or adds it; all else stays as it is. The file is its owner's alone. */
function writeSettings(context: CliContext, access: SupabaseAccess, known: string | null): string {
  const named = context.env['CCM_CONFIG']
  const chosen =
    known ?? (named === undefined || named === '' ? userFile(context) : resolve(context.cwd, named))
  const file = existsSync(chosen) ? realpathSync(chosen) : chosen
  const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const text = withSupabase(before, access)
  // A key that ended up in the wrong table, or a file that was none, is noticed before anything is replaced.
  const { supabase } = parseToml(text)
  if (JSON.stringify(supabase) === undefined) throw new CcmError('INTERNAL', `${file} could not be changed.`)
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(`${file}.part`, text, { mode: 0o600 })
  chmodSync(`${file}.part`, 0o600)
  renameSync(`${file}.part`, file)
  return file
}

/** The text with these values in its table `[supabase]`; other keys of that table, and all other lines, are kept. */
export function withSupabase(text: string, access: SupabaseAccess): string {
  const values = {
    url: JSON.stringify(access.url),
    secret_key: JSON.stringify(access.secretKey),
    system: JSON.stringify(access.system),
  }
  const lines = text.split('\n')
  const isHead = (line: string) => /^\s*\[/.test(line)
  const start = lines.findIndex((line) => /^\s*\[\s*supabase\s*\]\s*(#.*)?$/.test(line))
  const fresh = Object.entries(values).map(([key, value]) => `${key} = ${value}`)
  if (start === -1) {
    const body = text.trimEnd()
    return `${body === '' ? '' : `${body}\n\n`}[supabase]\n${fresh.join('\n')}\n`
  }
  const next = lines.findIndex((line, index) => index > start && isHead(line))
  const end = next === -1 ? lines.length : next
  const kept = lines.slice(start + 1, end).filter((line) => !/^\s*(url|secret_key|system)\s*=/.test(line))
  return [...lines.slice(0, start + 1), ...fresh, ...kept, ...lines.slice(end)].join('\n')
}

function userFile({ env }: CliContext): string {
  const config = env['XDG_CONFIG_HOME']
  const folder = config !== undefined && isAbsolute(config) ? config : join(env['HOME'] ?? '', '.config')
  return join(folder, 'ccm', 'ccm.toml')
}
