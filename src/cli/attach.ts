import { CcmError } from '../core/errors.ts'
import { isFinal } from '../core/task/task.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

/** `ccm attach`: the agent's own window, read and write. */
export const attachCommand: DefineCommand = (context, done) =>
  createCommand('attach', "Open the agent's own window in this terminal.", [
    'ccm attach 3f2a   (leave it: Ctrl-b d)',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .action(async (id: string, options: { json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const [task, status] = [await api.task(id), await api.status()]
      if (task.window === null || isFinal(task.status)) {
        const why = isFinal(task.status)
          ? `It is ${task.status}.`
          : (task.state_reason ?? 'It has not begun.')
        throw new CcmError('CONFLICT', `Task ${task.id} has no window. ${why}`, {
          remedy: `See: ccm show ${task.id}`,
        })
      }
      const command = ['tmux', '-S', status.tmux_socket, 'attach-session', '-t', `=ccm:=${task.window}`]
      if (options.json) printJson(context, { task_id: task.id, command })
      else if (context.stdin.isTTY !== true || context.stdout.isTTY !== true) {
        context.stdout.write(`${command.map(quoted).join(' ')}\n`)
      } else {
        return done(await runInTerminal(command, context.env))
      }
      done(EXIT.ok)
    })

// Inside another tmux, tmux refuses to attach as long as TMUX is set.
async function runInTerminal(command: string[], env: Record<string, string | undefined>): Promise<number> {
  const { execa } = await import('execa')
  const [program = 'tmux', ...args] = command
  const { TMUX: _, TMUX_PANE: __, ...rest } = env
  const end = await execa(program, args, { stdio: 'inherit', env: rest, extendEnv: false, reject: false })
  return end.exitCode ?? EXIT.failed
}

function quoted(word: string): string {
  return /^[\w@%+:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
