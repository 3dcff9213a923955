import type { Writable } from 'node:stream'
import { CcmError } from '../core/errors.ts'
import type { BroadcastJson } from '../protocol/answer.ts'
import { printJson, type CliContext, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine, visible } from './printable.ts'

type Options = { all?: boolean; project?: string; yes?: boolean; json?: boolean }

/** `ccm send`: answers a question, or adds something to what the agent is doing; `--all`: what all of them do. */
export const sendCommand: DefineCommand = (context, done) =>
  createCommand('send', "Answer an agent's question, or tell it something more.", [
    'ccm send 3f2a "Postgres"',
    'ccm send 3f2a -- "-v must stay"',
    'ccm send --all --project app "Commit what you have."',
  ])
    .argument('<id>', 'the id of a task, or its beginning; not with --all')
    .argument('[text]', 'the answer; after "--" it may begin with "-"')
    .option('--all', 'to every agent that works or waits; one that asks something takes it as the answer')
    .option('--project <name>', 'with --all: only those of this project')
    .option('--yes', 'with --all: do not ask whether it is meant')
    .action(async (id: string, text: string | undefined, options: Options) => {
      if (options.all === true) return sendToAll(context, done, id, text, options)
      if (text === undefined) throw new CcmError('BAD_INPUT', 'The text is missing: ccm send ID TEXT.')
      if (options.project !== undefined || options.yes === true)
        throw new CcmError('BAD_INPUT', '--project and --yes are for --all.')
      const { api } = await context.daemon({ start: true })
      const task = await api.send(id, text)
      if (options.json) printJson(context, task)
      else context.stdout.write(`Sent to task ${task.id}.\n`)
      done(EXIT.ok)
    })

async function sendToAll(
  context: CliContext,
  done: (code: number) => void,
  text: string,
  more: string | undefined,
  { project, yes, json }: Options,
): Promise<void> {
  if (more !== undefined) throw new CcmError('BAD_INPUT', 'With --all no task is named: ccm send --all TEXT.')
  const whom = project === undefined ? 'every agent' : `every agent of ${oneLine(project, 60)}`
  const isPerson = context.stdin.isTTY === true && context.stdout.isTTY === true && json !== true
  if (
    yes !== true &&
    isPerson &&
    !(await isMeant(context, `Send this to ${whom}? ${oneLine(visible(text), 200)}`))
  )
    return done(EXIT.failed)
  const { api } = await context.daemon({ start: true })
  const reply = await api.sendToAll({ text, ...(project !== undefined && { project }) })
  if (json) printJson(context, reply)
  else context.stdout.write(`${linesOf(reply).join('\n')}\n`)
  done(reply.results.every(({ delivered }) => delivered) ? EXIT.ok : EXIT.failed)
}

async function isMeant(context: CliContext, message: string): Promise<boolean> {
  // Loaded here: few commands ask this way.
  const { confirm } = await import('@clack/prompts')
  const output = context.stdout as unknown as Writable
  return (await confirm({ message, initialValue: false, input: context.stdin, output })) === true
}

function linesOf({ results }: BroadcastJson): string[] {
  if (results.length === 0) return ['No agent works or waits.']
  return results.map(({ task_id, project, reason }) =>
    reason === null
      ? `Sent to task ${task_id} (${project}).`
      : `Not sent to task ${task_id} (${project}): ${oneLine(reason, 300)}`,
  )
}
