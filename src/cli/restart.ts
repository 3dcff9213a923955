import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { waitUntilGone } from './stop.ts'

/** `ccm restart`: another daemon in the place of this one, of the version that is installed now. */
export const restartCommand: DefineCommand = (context, done) =>
  createCommand('restart', 'Restart the daemon, after an update say; agents at work live on.', [
    'ccm restart',
  ]).action(async (options: { json?: boolean }) => {
    await context.mayStart()
    const running = await context.findDaemon()
    const before = running === null ? null : await running.api.status()
    if (running !== null) {
      const keeper = await context.keeper()
      await running.api.shutdown('keep')
      await waitUntilGone(running.pid)
      if (keeper !== null) await waitUntilGone(keeper)
    }
    const { api } = await context.daemon({ start: true, asked: true, fresh: true })
    const status = await api.status()
    if (options.json) printJson(context, status)
    else {
      const was = before === null ? '' : ` (it was pid ${before.pid}, version ${before.version})`
      context.stdout.write(`The daemon is up: pid ${status.pid}, version ${status.version}${was}\n`)
    }
    done(EXIT.ok)
  })
