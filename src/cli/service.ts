import { execFile } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { CcmError } from '../core/errors.ts'
import {
  createServiceManager,
  installService,
  serviceStates,
  uninstallService,
  type Manager,
  type ServiceManager,
} from '../service/manage.ts'
import { launchdAgent, PLIST, systemdUnits, UNITS, type ServiceFile } from '../service/units.ts'
import { printJson, type CliContext, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { createCommand } from './parse.ts'
import { waitUntilGone } from './stop.ts'

type Options = { json?: boolean; user?: boolean; system?: boolean; print?: boolean; as?: string }

/** Of the caller's environment, what the service's daemon and its agents get: the user's tools and language. */
const CARRIED = [
  'PATH',
  'LANG',
  'LC_ALL',
  'TZ',
  'SHELL',
  'CLAUDE_CONFIG_DIR',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
]

/** `ccm service`: the daemon as a service of systemd or launchd. */
export const serviceCommand: DefineCommand = (context, done) => {
  const status = async (options: Options) => {
    const on = managerFor(context, options)
    const states = await serviceStates(on, namesOf(on))
    if (options.json) printJson(context, { manager: on.manager, files: states })
    else
      for (const { name, installed, edited, active, enabled, file } of states) {
        const how = installed ? `${active}, ${enabled ? 'starts by itself' : 'not enabled'}` : 'not installed'
        context.stdout.write(`${name}: ${how}${edited ? ', edited' : ''} (${file})\n`)
      }
    done(states.every(({ active }) => active === 'active') ? EXIT.ok : EXIT.unreachable)
  }
  const install = createCommand('install', 'Make the daemon a service that starts by itself.', [
    'ccm service install',
    'sudo ccm service install --system --as alice',
    'ccm service install --print',
  ])
    .option('--print', 'show the files and write nothing')
    .option('--as <user>', 'whom a system service runs as (default: who called sudo)')
    .action(async (options: Options) => {
      const on = managerFor(context, options)
      const files = await filesFor(context, on, options)
      if (options.print) {
        if (options.json) printJson(context, files)
        else for (const { name, text } of files) context.stdout.write(`# ${join(on.folder, name)}\n${text}\n`)
        return done(EXIT.ok)
      }
      requireManager(on)
      await makeWay(context)
      const said = [...(await installService(on, files)), ...(await lingerHint(on))]
      if (options.json) printJson(context, { manager: on.manager, said })
      else context.stdout.write(`${said.join('\n')}\n`)
      done(EXIT.ok)
    })
  const uninstall = createCommand(
    'uninstall',
    'Stop the service and remove it; running tasks go back to the queue.',
    ['ccm service uninstall'],
  ).action(async (options: Options) => {
    const on = managerFor(context, options)
    const running = await context.findDaemon()
    if (running !== null && (await running.api.status()).kept_by === on.keeper) {
      await running.api.shutdown('end')
      await waitUntilGone(running.pid)
    }
    const said = await uninstallService(on, namesOf(on))
    if (options.json) printJson(context, { manager: on.manager, said })
    else context.stdout.write(`${said.join('\n')}\n`)
    done(EXIT.ok)
  })
  const host = createCommand(
    'host-tmux',
    'For the unit itself: start the tmux server of the agents.',
    [],
  ).action(async () => done(await context.hostTmux()))
  const show = createCommand('status', 'Show whether the service is installed and runs.', [
    'ccm service status --json',
  ])
  const choices = [install, uninstall, show.action(status)].map(withChoice)
  const group = createGroup(
    'service',
    'Run the daemon as a service of systemd or launchd.',
    ['ccm service install'],
    {
      alone: status,
      subcommands: choices,
    },
  )
  group.addCommand(host, { hidden: true })
  return group
}

function withChoice(command: Command): Command {
  return command
    .addOption(new Option('--user', 'a service of this user (default, but for root)').conflicts('system'))
    .option('--system', 'a service of the machine (default for root)')
}

function managerFor(
  context: CliContext,
  options: Options,
): ServiceManager & { keeper: 'systemd' | 'launchd' } {
  const uid = process.getuid?.() ?? 0
  const system = options.system === true || (options.user !== true && uid === 0)
  const manager: Manager = process.platform === 'darwin' ? 'launchd' : system ? 'system' : 'user'
  const on = createServiceManager(manager, context.env, context.env['HOME'] ?? '/', uid)
  return { ...on, keeper: manager === 'launchd' ? 'launchd' : 'systemd' }
}

function namesOf(on: ServiceManager): readonly string[] {
  return on.manager === 'launchd' ? [PLIST] : UNITS
}

function requireManager(on: ServiceManager): void {
  if (on.manager === 'launchd' || existsSync('/run/systemd/system')) {
    if (on.manager !== 'system' || process.getuid?.() === 0) return
    throw new CcmError('BAD_INPUT', 'A service of the machine is set up by root.', {
      remedy: 'Run it with sudo, or without --system for a service of your own.',
    })
  }
  throw new CcmError('BAD_INPUT', 'systemd does not run on this machine (/run/systemd/system is missing).', {
    remedy: '`ccm start` keeps the daemon running without it.',
  })
}

async function filesFor(context: CliContext, on: ServiceManager, options: Options): Promise<ServiceFile[]> {
  const [node = process.execPath, ccm = ''] = context.launcher
  const user =
    on.manager === 'system' ? (options.as ?? context.env['SUDO_USER'] ?? context.env['USER'] ?? 'root') : null
  const { home, configFile } = await context.homeOf(user)
  const carried = CARRIED.flatMap((name) => {
    const value = context.env[name]
    return value === undefined || value === '' ? [] : [[name, value] as const]
  })
  const place = {
    packageFolder: join(ccm, '../..'),
    node: realpathSync(node),
    ccm,
    home,
    user,
    environment: {
      ...Object.fromEntries(carried),
      CCM_HOME: home,
      ...(configFile !== null && { CCM_CONFIG: configFile }),
    },
  }
  return on.manager === 'launchd' ? [launchdAgent(place)] : systemdUnits(place)
}

/** A daemon that runs by itself holds the home, and its tmux server would stay outside of the service. */
async function makeWay(context: CliContext): Promise<void> {
  const running = await context.findDaemon()
  if (running === null) return
  const { kept_by, agents } = await running.api.status()
  if (kept_by === 'systemd' || kept_by === 'launchd') return
  if (agents > 0) {
    throw new CcmError('CONFLICT', `A daemon runs already, with ${agents} agents at work.`, {
      remedy: 'Wait for them, or end it (their tasks are queued again): ccm stop',
    })
  }
  const keeper = await context.keeper()
  await running.api.shutdown('end')
  await waitUntilGone(running.pid)
  if (keeper !== null) await waitUntilGone(keeper)
}

async function lingerHint(on: ServiceManager): Promise<string[]> {
  if (on.manager !== 'user') return []
  const lingers = await new Promise<boolean>((resolve) => {
    execFile('loginctl', ['show-user', String(process.getuid?.()), '-p', 'Linger'], (error, stdout) =>
      resolve(error === null && stdout.includes('=yes')),
    )
  })
  return lingers
    ? []
    : ['It runs while you are logged in. To start it with the machine: loginctl enable-linger']
}
