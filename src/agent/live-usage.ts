import { open } from 'node:fs/promises'
import { createTranscriptReader } from '../core/transcript.ts'
import { totalUsage, usageByModel } from '../core/usage.ts'
import { findTranscript } from './result.ts'
import type { TranscriptPlace } from './transcript-end.ts'

/** Tokens an agent has used so far, cache reads and writes counted as input; without its subagents'. */
export type LiveTokens = { input: number; output: number }

/** Reads on in a transcript that is still being written. */
export type LiveUsage = {
  /** Takes in what was appended since the last call; true when the count changed. Never rejects. */
  update: () => Promise<boolean>
  tokens: () => LiveTokens
}

/** At most this much is read at a time: a daemon that takes back an old agent reads a long file in steps. */
const STEP_BYTES = 4 * 1024 * 1024

export function createLiveUsage(place: () => TranscriptPlace): LiveUsage {
  const reader = createTranscriptReader()
  let path: string | null = null
  let offset = 0
  let rest = Buffer.alloc(0)
  let busy = false
  let tokens: LiveTokens = { input: 0, output: 0 }

  async function readOn(): Promise<boolean> {
    path ??= await findTranscript(place())
    if (path === null) return false
    await using file = await open(path, 'r')
    const length = Math.min(STEP_BYTES, (await file.stat()).size - offset)
    if (length <= 0) return false
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, offset)
    if (bytesRead === 0) return false
    offset += bytesRead
    const text = Buffer.concat([rest, buffer.subarray(0, bytesRead)])
    const end = text.lastIndexOf(10)
    rest = Buffer.from(text.subarray(end + 1))
    for (const line of text
      .subarray(0, end + 1)
      .toString('utf8')
      .split('\n'))
      reader.add(line)
    const total = totalUsage(usageByModel(reader.transcript().messages))
    const input = total.input_tokens + total.cache_read_input_tokens + total.cache_creation_input_tokens
    const changed = input !== tokens.input || total.output_tokens !== tokens.output
    tokens = { input, output: total.output_tokens }
    return changed
  }

  return {
    async update() {
      if (busy) return false
      busy = true
      try {
        return await readOn()
      } catch {
        // The file is not there yet, or was moved: the result is read anew at the end.
        path = null
        return false
      } finally {
        busy = false
      }
    },
    tokens: () => tokens,
  }
}
