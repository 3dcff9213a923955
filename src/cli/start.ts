import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

/** `ccm start`: the daemon in the background; nothing happens when it runs already. */
export const startCommand: DefineCommand = (context, done) =>
  createCommand('start', 'Start the daemon in the background, unless it runs.', ['ccm start']).action(
    async (options: { json?: boolean }) => {
      const running = await context.findDaemon()
      const { api } = running ?? (await context.daemon({ start: true, asked: true }))
      const status = await api.status()
      if (options.json) printJson(context, status)
      else {
        const how = running === null ? 'The daemon is up' : 'The daemon runs already'
        context.stdout.write(`${how}: pid ${status.pid}, http://127.0.0.1:${status.port}\n`)
      }
      done(EXIT.ok)
    },
  )
