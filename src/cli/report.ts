import type { CommanderError } from 'commander'
import { CcmError, messageOf } from '../core/errors.ts'
import { printJson, type CliContext } from './context.ts'
import { EXIT, exitCodeOfError } from './exit-code.ts'
import { printable } from './printable.ts'

/** A mistake on the command line, in one sentence, with the command that helps. */
export function usageError(error: CommanderError, argv: string[]): CcmError {
  const sentence = error.message
    .replace(/^error: /, '')
    .replace(/\s*\(Did you mean (.+?)\?\)/s, '; did you mean $1?')
    .replace(/\s*\n\s*/g, ' ')
    .trim()
  const words = argv.filter((word) => !word.startsWith('-'))
  const command = error.code === 'ccm.unknownCommand' ? undefined : words[0]
  const help = command === undefined ? 'ccm --help' : `ccm ${command} --help`
  // `ccm run "-p x"` looks like an option to everybody but the person who typed it.
  const dashed = error.code === 'commander.unknownOption' && (command === 'run' || command === 'send')
  const remedy = dashed
    ? `A text that begins with "-" goes after "--", as in: ccm ${command === 'run' ? 'run' : 'send ID'} -- "-text". Otherwise see: ${help}`
    : `See: ${help}`
  return new CcmError('BAD_INPUT', `${sentence[0]?.toUpperCase() ?? ''}${sentence.slice(1)}`, { remedy })
}

/** Prints an error for a person on stderr, with `--json` also as a document on stdout; answers the exit code. */
export function reportError(context: CliContext, error: unknown, json: boolean): number {
  const code = error instanceof CcmError ? error.code : 'INTERNAL'
  const remedy = error instanceof CcmError ? error.remedy : undefined
  const message = printable(messageOf(error))
  context.stderr.write(`ccm: ${message}\n`)
  if (remedy !== undefined) context.stderr.write(`     ${printable(remedy)}\n`)
  // A fault of ours: the place helps whoever reports it.
  if (!(error instanceof CcmError) && error instanceof Error && error.stack !== undefined) {
    context.stderr.write(`${printable(error.stack)}\n`)
  }
  if (json) printJson(context, { code, message, ...(remedy !== undefined && { remedy }) })
  return error instanceof CcmError ? exitCodeOfError(error.code) : EXIT.failed
}
