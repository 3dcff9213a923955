import { CcmError } from '../core/errors.ts'
import { THEN, type Command } from './command.ts'

/**
 * One argument for tmux's own command parser (control mode and `source-file`): single quotes, in which
 * nothing is expanded. Throws BAD_INPUT on a line break, NUL or half a surrogate pair: the first two would
 * end the command, the third has no bytes.
 */
export function quote(argument: string): string {
  if (/[\n\0]/.test(argument)) {
    throw new CcmError('BAD_INPUT', 'A tmux argument holds a line break or a NUL character.')
  }
  if (!argument.isWellFormed()) {
    throw new CcmError('BAD_INPUT', 'A tmux argument is not valid Unicode (it holds half a surrogate pair).')
  }
  return `'${argument.replaceAll("'", "'\\''")}'`
}

/** One line for tmux's parser. Never empty: an empty line would detach a control client. */
export function toLine(command: Command): string {
  const words = command.map((word) => (word === THEN ? ';' : quote(word)))
  if (words.length === 0 || words.some((word, i) => word === ';' && (i === 0 || isEnd(words[i + 1])))) {
    throw new CcmError('BAD_INPUT', 'A tmux command is empty.')
  }
  return words.join(' ')
}

/** How many replies tmux gives to a command's line when all goes well. */
export function replyCount(command: Command): number {
  return 1 + command.filter((word) => word === THEN).length
}

/** A path for an argument that tmux expands as a format (`load-buffer`, `source-file`): `#` stands for itself. */
export function quoteFormat(text: string): string {
  return text.replaceAll('#', '##')
}

function isEnd(word: string | undefined): boolean {
  return word === undefined || word === ';'
}
