import type { Readable } from 'node:stream'
import { CcmError } from '../core/errors.ts'

/** All of standard input as text; throws BAD_INPUT for a terminal and for what is no UTF-8. */
export async function readAll(input: Readable & { isTTY?: boolean }): Promise<string> {
  if (input.isTTY === true) {
    throw new CcmError('BAD_INPUT', '"-" means standard input, and that is a terminal.', {
      remedy: 'Pipe a text in, or give it as an argument.',
    })
  }
  const chunks: Buffer[] = []
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Buffer | string))
  const bytes = Buffer.concat(chunks)
  const text = bytes.toString('utf8')
  if (!Buffer.from(text, 'utf8').equals(bytes)) {
    throw new CcmError('BAD_INPUT', 'Standard input is not UTF-8 text.')
  }
  return text
}
