import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { pino } from 'pino'
import { CcmError, messageOf } from '../core/errors.ts'
import { readTemplateRow } from '../protocol/template.ts'
import type { SupabaseAccess } from '../queue/supabase/client.ts'
import type { CliContext, ConfigView } from './context.ts'
import { failed, note, ok, type Check } from './check.ts'
import { checkDatabase, checkDisk, checkHome, checkSocket, checkToken, isReadable } from './doctor-home.ts'
import { findPackageRoot } from './package-root.ts'

const NODE_LEAST = 24
const TMUX_LEAST = [3, 2]
const LOGINS = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN']

/** Looks at everything ccm needs, changes nothing and starts nothing but `--version` of the programs. */
export async function checkAll(context: CliContext): Promise<Check[]> {
  const checks = [checkNode(), await checkProgram('git', [2, 30], 'Install git with your system’s packages.')]
  checks.push(
    await checkProgram('tmux', TMUX_LEAST, 'Install tmux 3.2 or newer with your system’s packages.'),
  )
  let config: ConfigView
  try {
    config = await context.config()
  } catch (error) {
    const detail = messageOf(error).replaceAll(/\s*\n\s*/g, ' ')
    return [
      ...checks,
      failed('config', detail, 'Mend the file or variable that is named, then: ccm config check'),
    ]
  }
  // A home that cannot be read is told by its own check.
  const daemon = await context.findDaemon().catch(() => null)
  return [
    ...checks,
    ok('config', config.file ?? 'no file: defaults and variables'),
    await checkClaude(context, config),
    checkLogin(context, config),
    ...checkHome(config.home),
    checkToken(config.home),
    checkSocket(config.home),
    checkDisk(config.home),
    ...checkDatabase(config.home),
    checkDaemon(config.home, daemon === null ? null : daemon.pid),
    await checkPort(config, daemon !== null),
    await checkHook(),
    checkService(),
    ...(await checkQueue(context)),
  ]
}

/** [] where the queue is this machine's own. */
async function checkQueue(context: CliContext): Promise<Check[]> {
  try {
    const access = await context.supabase()
    if (access === null) return []
    const { checkSupabase } = await import('../queue/supabase/check.ts')
    const checks = await checkSupabase(access, { make: false, logger: pino({ level: 'silent' }) })
    const named = checks.map((check) => ({ ...check, name: `supabase ${check.name}` }))
    return checks.some(({ state }) => state === 'failed') ? named : [...named, await checkTemplates(access)]
  } catch (error) {
    return [failed('supabase', messageOf(error), 'Set it up again: ccm supabase init')]
  }
}

/** Rows that anybody of the team may have written: one that nobody can use stops no machine, so it is a note. */
async function checkTemplates(access: SupabaseAccess): Promise<Check> {
  const { createSupabase } = await import('../queue/supabase/client.ts')
  const { listTemplateRows, TEMPLATES_MAX } = await import('../queue/supabase/templates.ts')
  const { client } = createSupabase(access)
  const rows = await listTemplateRows(client, { ...access, limit: TEMPLATES_MAX + 1 })
  const faults = rows.map(readTemplateRow).flatMap((read) => ('fault' in read ? [read.fault] : []))
  if (rows.length > TEMPLATES_MAX) faults.push(`There are more than ${TEMPLATES_MAX}; the last are not used.`)
  return faults.length === 0
    ? ok('supabase templates', `${rows.length} can be used`)
    : note(
        'supabase templates',
        `${faults.length} of ${rows.length} cannot be used: ${faults.join(' ')}`,
        'Mend the rows of the table templates in the dashboard.',
      )
}

function checkNode(): Check {
  const { node } = process.versions
  return Number(node.split('.')[0]) >= NODE_LEAST
    ? ok('node', node)
    : failed('node', `${node} is too old`, `Install Node ${NODE_LEAST} or newer.`)
}

async function checkProgram(name: string, least: number[], remedy: string): Promise<Check> {
  const said = await execa(name, [name === 'tmux' ? '-V' : '--version'], {
    reject: false,
    timeout: 5000,
    stdin: 'ignore',
  })
  const version = /(\d+)\.(\d+)/.exec(said.stdout ?? '')
  if (said.exitCode !== 0 || version === null)
    return failed(name, 'it is not on PATH or does not start', remedy)
  const [major, minor] = [Number(version[1]), Number(version[2])]
  const [leastMajor = 0, leastMinor = 0] = least
  const detail = said.stdout.trim()
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return ok(name, detail)
  return failed(name, `${detail} is older than ${least.join('.')}`, remedy)
}

async function checkClaude(context: CliContext, config: ConfigView): Promise<Check> {
  try {
    const { path, version } = await context.findClaude(config)
    return ok('claude', `${version} (${path})`)
  } catch (error) {
    const remedy = error instanceof CcmError ? error.remedy : undefined
    return failed('claude', messageOf(error), remedy ?? 'Set [claude] command to its path.')
  }
}

/** Only whether something is there: what it says stays unread, but for the names in the user's own state file. */
function checkLogin(context: CliContext, { claude, values }: ConfigView): Check {
  const named = LOGINS.find((name) => claude.env[name] || values[`claude.env.${name}`])
  if (named !== undefined) return ok('login', `${named} in [claude.env]`)
  const home = context.env['HOME'] ?? homedir()
  const folder = claude.env['CLAUDE_CONFIG_DIR'] ?? context.env['CLAUDE_CONFIG_DIR']
  const credentials = join(folder ?? join(home, '.claude'), '.credentials.json')
  if (existsSync(credentials)) return ok('login', 'Claude Code has a login of its own')
  const state = join(folder ?? home, '.claude.json')
  try {
    const text = readFileSync(state, 'utf8')
    if (/"(oauthAccount|primaryApiKey)"\s*:/.test(text))
      return ok('login', 'Claude Code has a login of its own')
  } catch {
    // No state file: it was never started.
  }
  if (process.platform === 'darwin')
    return note('login', 'it may be in the keychain, which is not looked into')
  return note(
    'login',
    'no sign of one was found',
    'Run claude once and log in, or set a key in [claude.env].',
  )
}

function checkDaemon(home: string, pid: number | null): Check {
  if (pid !== null) return ok('daemon', `pid ${pid} answers`)
  const file = join(home, 'daemon.json')
  if (!existsSync(file)) return note('daemon', 'none runs; ccm run starts one')
  const named = /"pid":\s*(\d+)/.exec(readFileSync(file, 'utf8'))?.[1]
  return isRunning(Number(named))
    ? failed('daemon', `pid ${named} does not answer`, `Look: ccm logs. Then: kill ${named} && ccm start`)
    : note('daemon', 'the last one died', 'ccm start takes over what it left; ccm logs says why.')
}

async function checkPort({ http }: ConfigView, ours: boolean): Promise<Check> {
  if (http.port === 0) return ok('port', 'any free one')
  if (ours) return ok('port', `${http.port} is served by this daemon, or will be after a restart`)
  const taken = await new Promise<string | null>((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host: http.host, port: http.port }, () => server.close(() => resolve(null)))
  })
  if (taken === null) return ok('port', `${http.port} is free`)
  return failed(
    'port',
    `${http.port} on ${http.host} cannot be used (${taken})`,
    'Set [http] port to another one, or 0 for any free one.',
  )
}

async function checkHook(): Promise<Check> {
  const script = join(findPackageRoot(import.meta.url).folder, 'hooks', 'record-event.sh')
  const remedy = 'Install ccm again: its package is not whole.'
  if (!isReadable(script)) return failed('hook', `${script} is missing`, remedy)
  const { exitCode, stderr } = await execa('/bin/sh', ['-n', script], {
    reject: false,
    timeout: 5000,
    stdin: 'ignore',
  })
  return exitCode === 0 ? ok('hook', script) : failed('hook', `/bin/sh cannot read it: ${stderr}`, remedy)
}

function checkService(): Check {
  if (existsSync('/run/systemd/system')) return ok('service', 'systemd is here')
  if (process.platform === 'darwin') return ok('service', 'launchd is here')
  return note(
    'service',
    'neither systemd nor launchd runs: nobody starts the daemon after a restart of the machine',
  )
}

function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid < 1) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
