import { createLogger } from '../../src/log/log.ts'
import { openLogOutput } from '../../src/log/output.ts'

// Logs many lines as the daemon would, and says on stdout that it is still alive. Arguments: settings as JSON, home, lines.
const [settings = '{}', home = '/', lines = '0'] = process.argv.slice(2)
const given = { file: null, maxBytes: 1e9, keep: 5, syslog: false, ...(JSON.parse(settings) as object) }
const output = await openLogOutput(given, home, process.env)
const logger = createLogger({ level: 'info', stream: output, terminal: output.terminal })
for (let n = 0; n < Number(lines); n++) {
  logger.info({ taskId: `task-${n}` }, `line ${n} ${'x'.repeat(150)}`)
  // As the daemon does: never all of it in one turn.
  if (n % 500 === 499) await new Promise((resolve) => setTimeout(resolve, 5))
}
logger.warn('the last line')
process.stdout.write('alive\n')
process.stdin.once('data', () => {
  logger.error('after all')
  setTimeout(() => process.exit(0), 1000)
})
