import { Option } from 'commander'
import { CcmError } from '../core/errors.ts'
import type { DefineCommand } from './context.ts'
import { EXIT_HOME_TAKEN, refuseAgents } from './daemon-process.ts'
import { createCommand } from './parse.ts'

/** `ccm daemon`: the daemon in this process. */
export const daemonCommand: DefineCommand = (context, done) =>
  createCommand('daemon', 'Run the daemon in the foreground; Ctrl-C ends it.', ['ccm daemon'])
    .addOption(new Option('--background', 'for ccm itself: log lines only').hideHelp())
    .action(async (options: { background?: boolean }) => {
      const background = options.background === true
      if (!background) await refuseAgents({ home: (await context.config()).home, env: context.env })
      try {
        done(await context.runDaemon({ background }))
      } catch (error) {
        if (!background || !(error instanceof CcmError) || error.code !== 'LOCKED') throw error
        // Whoever started this one looks for the winner instead.
        done(EXIT_HOME_TAKEN)
      }
    })
