import type { DefineCommand } from './context.ts'

/** A command as the help tells it; `load` brings the rest of it. */
type Entry = { summary: string; load: () => Promise<DefineCommand> }

/** Each is its own file, loaded only when it is the one: `ccm status` need not know how `run` works. */
export const COMMANDS: Record<string, Entry> = {
  run: entry('give Claude Code a task and follow it', async () => (await import('./run.ts')).runCommand),
  tasks: entry('list tasks', async () => (await import('./tasks.ts')).tasksCommand),
  show: entry('show everything about a task', async () => (await import('./show.ts')).showCommand),
  events: entry('list the hook events of a task', async () => (await import('./events.ts')).eventsCommand),
  search: entry(
    'search what agents were told, ran and said',
    async () => (await import('./search.ts')).searchCommand,
  ),
  explain: entry(
    'show what proved each state of its agent',
    async () => (await import('./explain.ts')).explainCommand,
  ),
  attach: entry("open the agent's window", async () => (await import('./attach.ts')).attachCommand),
  approve: entry('allow what an agent asks for', async () => (await import('./approve.ts')).approveCommand),
  deny: entry('refuse what an agent asks for', async () => (await import('./deny.ts')).denyCommand),
  send: entry("answer an agent's question", async () => (await import('./send.ts')).sendCommand),
  cancel: entry('end a task', async () => (await import('./cancel.ts')).cancelCommand),
  retry: entry(
    'try a failed, cancelled or dead task again',
    async () => (await import('./retry.ts')).retryCommand,
  ),
  diff: entry('show what a task changed', async () => (await import('./diff.ts')).diffCommand),
  apply: entry('bring the work of a task home', async () => (await import('./apply.ts')).applyCommand),
  discard: entry('take the branch of a task away', async () => (await import('./discard.ts')).discardCommand),
  projects: entry(
    'list, add, trust directories',
    async () => (await import('./projects.ts')).projectsCommand,
  ),
  keys: entry('make and revoke API keys', async () => (await import('./keys.ts')).keysCommand),
  incidents: entry(
    'show what went wrong and what was done',
    async () => (await import('./incidents.ts')).incidentsCommand,
  ),
  audit: entry('show who changed what, from where', async () => (await import('./audit.ts')).auditCommand),
  templates: entry('list task templates', async () => (await import('./templates.ts')).templatesCommand),
  inbox: entry('decide what came in from outside', async () => (await import('./inbox.ts')).inboxCommand),
  schedule: entry(
    'list, add, pause tasks that recur',
    async () => (await import('./schedule.ts')).scheduleCommand,
  ),
  status: entry('show what the daemon is doing', async () => (await import('./status.ts')).statusCommand),
  backup: entry(
    'copy the database, also while it is in use',
    async () => (await import('./backup.ts')).backupCommand,
  ),
  restore: entry('put a backup in its place', async () => (await import('./restore.ts')).restoreCommand),
  start: entry('start the daemon in the background', async () => (await import('./start.ts')).startCommand),
  stop: entry('stop the daemon', async () => (await import('./stop.ts')).stopCommand),
  restart: entry(
    'restart the daemon, agents live on',
    async () => (await import('./restart.ts')).restartCommand,
  ),
  workers: entry('list who works on what', async () => (await import('./workers.ts')).workersCommand),
  logs: entry("show the daemon's log", async () => (await import('./logs.ts')).logsCommand),
  doctor: entry(
    'check this machine and say what helps',
    async () => (await import('./doctor.ts')).doctorCommand,
  ),
  config: entry('show the settings in force', async () => (await import('./config.ts')).configCommand),
  service: entry(
    'run the daemon as a service of systemd or launchd',
    async () => (await import('./service.ts')).serviceCommand,
  ),
  daemon: entry('run the daemon in the foreground', async () => (await import('./daemon.ts')).daemonCommand),
  completion: entry(
    'let your shell complete what you type',
    async () => (await import('./completion.ts')).completionCommand,
  ),
  supabase: entry(
    'set up the shared queue in Supabase',
    async () => (await import('./supabase.ts')).supabaseCommand,
  ),
  demo: entry('a whole task without any account', async () => (await import('./demo.ts')).demoCommand),
}

/** Every command there is, in the order of the help. */
export const COMMAND_NAMES: readonly string[] = Object.keys(COMMANDS)

function entry(summary: string, load: Entry['load']): Entry {
  return { summary, load }
}
