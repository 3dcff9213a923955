import type { StatusJson } from '../protocol/daemon.ts'
import { printJson, type DefineCommand } from './context.ts'
import { showDuration } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { createPaint, type Paint } from './terminal.ts'

/** `ccm status`: what the daemon is doing. It never starts one. */
export const statusCommand: DefineCommand = (context, done) =>
  createCommand('status', 'Show what the daemon is doing (exit 69 when none runs).', [
    'ccm status --json',
  ]).action(async (options: { json?: boolean }) => {
    const { api } = await context.daemon({ start: false })
    const status = await api.status()
    if (options.json) printJson(context, status)
    else context.stdout.write(`${statusLines(status, createPaint(context.stdout, context.env)).join('\n')}\n`)
    done(EXIT.ok)
  })

function statusLines(status: StatusJson, paint: Paint): string[] {
  const claude =
    'problem' in status.claude
      ? paint.red(status.claude.problem)
      : `${status.claude.version} (${status.claude.path})`
  return [
    `${paint.green('running')} for ${showDuration(status.uptime_s * 1000)}: pid ${status.pid}, http://127.0.0.1:${status.port}, version ${status.version}`,
    `  home    ${oneLine(status.home)}`,
    `  agents  ${status.agents} of ${status.max_concurrent}`,
    `  tasks   ${status.running} running, ${status.queued} queued`,
    `  tmux    ${status.tmux === 'ok' ? 'ok' : paint.red('down')}`,
    `  claude  ${claude}`,
    ...oddEvents(status.events).map((line) => paint.yellow(`  events  ${line}`)),
    ...status.holds.map((hold) => paint.yellow(`  waits   ${oneLine(hold)}`)),
    ...status.found_at_start.map((found) => paint.dim(`  found   ${oneLine(found)}`)),
  ]
}

/** What of the agents' events was not as it should be, one sentence each; [] when all is well. */
function oddEvents({ unknown, unknown_others, unreadable, lost }: StatusJson['events']): string[] {
  const names = Object.entries(unknown).map(([name, count]) => `${oneLine(name, 40)} ${count}`)
  if (unknown_others > 0) names.push(`others ${unknown_others}`)
  return [
    ...(lost > 0 ? [`${lost} could not be written by an agent's hook: is the disk full or read-only?`] : []),
    ...(unreadable > 0 ? [`${unreadable} could not be read`] : []),
    ...(names.length > 0 ? [`of unknown names: ${names.join(', ')}`] : []),
  ]
}
