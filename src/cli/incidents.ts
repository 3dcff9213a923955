import { setTimeout as sleep } from 'node:timers/promises'
import type { IncidentJson } from '../protocol/incident.ts'
import { printJson, printJsonLine, type CliContext, type DefineCommand } from './context.ts'
import { showDuration } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { createPaint, type Paint } from './terminal.ts'

/** `ccm incidents`: what went wrong and what was done about it, newest last. */
export const incidentsCommand: DefineCommand = (context, done) =>
  createCommand('incidents', 'Show what went wrong, what proved it, and what was done about it.', [
    'ccm incidents --open',
    'ccm incidents --follow --json | jq .what',
  ])
    .option('--open', 'only what still lasts')
    .option('-f, --follow', 'go on until Ctrl-C; with --json one incident per line')
    .action(async (options: { open?: boolean; follow?: boolean; json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const filter = { limit: 50, ...(options.open && { open: 1 as const }) }
      const incidents = (await api.incidents(filter)).toReversed()
      const paint = createPaint(context.stdout, context.env)
      const print = (incident: IncidentJson) =>
        options.json
          ? printJsonLine(context, incident)
          : void context.stdout.write(`${linesOf(incident, paint).join('\n')}\n`)
      if (options.follow) {
        incidents.forEach(print)
        return done(await follow(context, incidents, () => api.incidents({ limit: 1000 }), print))
      }
      if (options.json) printJson(context, incidents)
      else if (incidents.length === 0)
        context.stdout.write(
          options.open ? 'Nothing lasts. What is over: ccm incidents\n' : 'Nothing went wrong.\n',
        )
      else incidents.forEach(print)
      done(EXIT.ok)
    })

const LOOK_MS = 1000

/** Prints each new incident, and once more when it is over. */
async function follow(
  context: CliContext,
  printed: IncidentJson[],
  list: () => Promise<IncidentJson[]>,
  print: (incident: IncidentJson) => void,
): Promise<number> {
  const leave = new AbortController()
  const offInterrupt = context.onInterrupt(() => leave.abort())
  const versionOf = ({ closed_at }: IncidentJson) => closed_at ?? 'open'
  const seen = new Map(printed.map((incident) => [incident.id, versionOf(incident)]))
  let last = Math.max(0, ...seen.keys())
  try {
    while (!leave.signal.aborted) {
      for (const incident of (await list()).toReversed()) {
        const known = seen.get(incident.id)
        if (known === versionOf(incident) || (known === undefined && incident.id <= last)) continue
        print(incident)
        seen.set(incident.id, versionOf(incident))
      }
      last = Math.max(last, ...seen.keys())
      await sleep(LOOK_MS, undefined, { signal: leave.signal }).catch(() => undefined)
    }
    return EXIT.detached
  } finally {
    offInterrupt()
  }
}

function linesOf(incident: IncidentJson, paint: Paint): string[] {
  const { kind, what, evidence, action, task_id, opened_at, duration_ms, notices } = incident
  const lasted = duration_ms === null ? paint.yellow('lasts') : `over after ${showDuration(duration_ms)}`
  const told = notices.map(({ notifier, phase, state, error }) =>
    oneLine(`${notifier} (${phase}): ${state}${error === null ? '' : `, ${error}`}`, 300),
  )
  return [
    `${paint.dim(opened_at)} ${kind} ${lasted}${task_id === null ? '' : ` ${paint.dim(`task ${task_id}`)}`}`,
    `  ${oneLine(what, 500)}`,
    ...(evidence === '' ? [] : [paint.dim(`  proof   ${oneLine(evidence, 500)}`)]),
    ...(action === '' ? [] : [`  action  ${oneLine(action, 500)}`]),
    ...told.map((line) => paint.dim(`  told    ${line}`)),
  ]
}
