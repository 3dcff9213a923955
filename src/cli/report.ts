import type { CommanderError } from 'commander'
import { CcmError, messageOf } from '../core/errors.ts'
import { printJson, type CliContext } from './context.ts'
import { EXIT, exitCodeOfError } from './exit-code.ts'
import { printable } from './printable.ts'

/** A mistake on the command line, in one sentence, with the help of the command that these words name. */
export function usageError(error: CommanderError, command: string[]): CcmError {
  const sentence = error.message
    .replace(/^error: /, '')
    .replace(/\s*\(Did you mean (.+?)\?\)/s, '; did you mean $1?')
    .replace(/\s*\n\s*/g, ' ')
    .trim()
  const help = ['ccm', ...command, '--help'].join(' ')
  return new CcmError('BAD_INPUT', asSentence(sentence), {
    remedy: `${hintFor(error, command.join(' '))}See: ${help}`,
  })
}

// What looks like an option or like many arguments was often meant as one text.
function hintFor(error: CommanderError, command: string): string {
  if (command !== 'run' && command !== 'send') return ''
  const before = command === 'run' ? 'ccm run' : 'ccm send ID'
  if (error.code === 'commander.excessArguments') return `Put the text into quotes: ${before} "TEXT". `
  if (error.code !== 'commander.unknownOption' || !/option '(-[^-]|[^']*\s)/.test(error.message)) return ''
  return `A text that begins with "-" goes after "--": ${before} -- "-TEXT". `
}

function asSentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? '' : '.'}`
}

/** Prints an error for a person on stderr, with `--json` also as a document on stdout; answers the exit code. */
export function reportError(context: CliContext, error: unknown, json: boolean): number {
  const code = error instanceof CcmError ? error.code : 'INTERNAL'
  const remedy = error instanceof CcmError ? error.remedy : undefined
  const message = printable(messageOf(error))
  context.stderr.write(`ccm: ${message}\n`)
  if (remedy !== undefined) context.stderr.write(`     ${printable(remedy)}\n`)
  const retryAfterMs = error instanceof CcmError ? error.retryAfterMs : undefined
  const seconds = retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000)
  if (seconds !== undefined) context.stderr.write(`     The next try is worth it in ${seconds} s.\n`)
  // A fault of ours: the place helps whoever reports it.
  if (!(error instanceof CcmError) && error instanceof Error && error.stack !== undefined) {
    context.stderr.write(`${printable(error.stack)}\n`)
  }
  if (json) {
    printJson(context, {
      code,
      message,
      ...(remedy !== undefined && { remedy }),
      ...(seconds !== undefined && { retry_after_s: seconds }),
    })
  }
  return error instanceof CcmError ? exitCodeOfError(error.code) : EXIT.failed
}
