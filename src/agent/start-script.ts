import { CcmError } from '../core/errors.ts'
import { shellQuote } from './shell.ts'

/** Exit status of the script when the directory could not be entered; as the shell's own for "cannot run". */
export const CANNOT_ENTER = 126

/**
 * The program a window runs: sets the environment, enters the directory, runs Claude Code and leaves its
 * exit status in a file, because tmux forgets it in one of two cases. Everything is a single-quoted word, so
 * no value is ever interpreted; only a positional prompt is visible to other users of the machine, in `ps`.
 */
export function startScript(options: {
  environment: Record<string, string>
  dir: string
  argv: string[]
  exitFile: string
}): string {
  const exports = Object.entries(options.environment).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new CcmError(
        'BAD_CONFIG',
        `${JSON.stringify(name)} in [claude.env] cannot be the name of a variable.`,
      )
    }
    return `export ${name}=${shellQuote(value)}`
  })
  const part = shellQuote(`${options.exitFile}.part`)
  return [
    '# Written by ccm for one attempt; removed when the attempt is over.',
    'unset TMUX TMUX_PANE',
    ...exports,
    `if cd -- ${shellQuote(options.dir)}; then`,
    `  ${options.argv.map(shellQuote).join(' ')}`,
    '  status=$?',
    'else',
    `  status=${CANNOT_ENTER}`,
    'fi',
    `echo "$status" >${part} && mv ${part} ${shellQuote(options.exitFile)}`,
    '',
  ].join('\n')
}
