import { printJson, type DefineCommand } from './context.ts'
import type { Check } from './check.ts'
import { checkAll } from './doctor-checks.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { createPaint, type Paint } from './terminal.ts'

/** `ccm doctor`: what this machine has and lacks. It starts no daemon and changes nothing. */
export const doctorCommand: DefineCommand = (context, done) =>
  createCommand('doctor', 'Check this machine and say what helps; exit 1 when a check fails.', [
    'ccm doctor',
    'ccm doctor --json | jq \'.checks[] | select(.state == "failed")\'',
  ]).action(async (options: { json?: boolean }) => {
    const checks = await checkAll(context)
    const failures = checks.filter(({ state }) => state === 'failed').length
    if (options.json) printJson(context, { ok: failures === 0, checks })
    else {
      const paint = createPaint(context.stdout, context.env)
      const lines = checks.flatMap((check) => linesOf(check, paint))
      const end =
        failures === 0
          ? paint.green('All is well.')
          : paint.red(`${failures} of ${checks.length} checks failed.`)
      context.stdout.write(`${lines.join('\n')}\n${end}\n`)
    }
    done(failures === 0 ? EXIT.ok : EXIT.failed)
  })

function linesOf({ name, state, detail, remedy }: Check, paint: Paint): string[] {
  const mark = { ok: paint.green('ok    '), note: paint.yellow('note  '), failed: paint.red('FAILED') }[state]
  const line = `${mark}  ${paint.bold(oneLine(name, 50).padEnd(10))} ${oneLine(detail, 500)}`
  return remedy === null
    ? [line]
    : [line, `        ${' '.repeat(10)} ${paint.dim('->')} ${oneLine(remedy, 300)}`]
}
