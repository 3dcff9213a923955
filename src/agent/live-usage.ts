import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createTranscriptReader, type TranscriptReader } from '../core/record/transcript.ts'
import { type MessageUsage, totalUsage, usageByModel } from '../core/task/usage.ts'
import { findTranscript } from './result.ts'
import type { TranscriptPlace } from './transcript-end.ts'

/** Tokens an agent and its subagents have used so far, cache reads and writes counted as input. */
export type LiveTokens = { input: number; output: number }

/** Reads on in transcripts that are still being written. */
export type LiveUsage = {
  /** The API messages that are new or have grown since the last call, as they are now. Never rejects. */
  update: () => Promise<MessageUsage[]>
  /** Has these given by the next `update` again: they could not be stored. */
  again: (messages: readonly MessageUsage[]) => void
  tokens: () => LiveTokens
}

/** At most this much is read at a time: a daemon that takes back an old agent reads a long file in steps. */
const STEP_BYTES = 4 * 1024 * 1024

type Tail = { path: string; offset: number; rest: Buffer; reader: TranscriptReader }

export function createLiveUsage(
  place: () => TranscriptPlace,
  atWork: <T>(work: () => T) => T = (work) => work(),
): LiveUsage {
  const tails = new Map<string, Tail>()
  const missed: MessageUsage[] = []
  const known = new Map<string, { tokens: number; message: MessageUsage }>()
  let found: string | null = null
  let last: Promise<unknown> = Promise.resolve()
  let tokens: LiveTokens = { input: 0, output: 0 }

  /** The own file of each session that it was in, and one for each subagent. */
  async function files(): Promise<string[]> {
    const at = place()
    if (at.path === null) found ??= await findTranscript(at)
    const own = [...at.earlier, at.path ?? found].filter((path) => path !== null)
    return (await Promise.all(own.map(async (path) => [path, ...(await subagentsOf(path))]))).flat()
  }

  async function subagentsOf(path: string): Promise<string[]> {
    const folder = join(path.replace(/\.jsonl$/, ''), 'subagents')
    const names = await readdir(folder).catch((): string[] => [])
    return names.filter((name) => /^agent-.*\.jsonl$/.test(name)).map((name) => join(folder, name))
  }

  async function readOn(): Promise<MessageUsage[]> {
    const grown = missed.splice(0)
    for (const file of await files()) {
      const tail = tails.get(file) ?? {
        path: file,
        offset: 0,
        rest: Buffer.alloc(0),
        reader: createTranscriptReader(),
      }
      tails.set(file, tail)
      const before = tail.offset
      // One file that cannot be read now must not lose what others gave.
      while (await readStep(tail, atWork).catch(() => false)) continue
      if (tail.offset === before) continue
      for (const message of tail.reader.transcript().messages) {
        const count = tokensOf(message)
        if (known.get(message.id)?.tokens === count) continue
        known.set(message.id, { tokens: count, message })
        grown.push(message)
      }
    }
    if (grown.length > 0) {
      const total = totalUsage(usageByModel([...known.values()].map(({ message }) => message)))
      const input = total.input_tokens + total.cache_read_input_tokens + total.cache_creation_input_tokens
      tokens = { input, output: total.output_tokens }
    }
    return grown
  }

  return {
    update() {
      // One after the other: the last look at the end must not miss what a look under way is reading.
      const looked = last.then(readOn).catch(() => {
        // The file is not there yet, or was moved: the result is read anew at the end.
        found = null
        return []
      })
      last = looked
      return looked
    },
    again: (messages) => missed.push(...messages),
    tokens: () => tokens,
  }
}

/** Takes in whole lines only; false when nothing was appended. */
async function readStep(tail: Tail, atWork: <T>(work: () => T) => T): Promise<boolean> {
  await using file = await open(tail.path, 'r')
  const length = Math.min(STEP_BYTES, (await file.stat()).size - tail.offset)
  if (length <= 0) return false
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, tail.offset)
  if (bytesRead === 0) return false
  tail.offset += bytesRead
  const text = Buffer.concat([tail.rest, buffer.subarray(0, bytesRead)])
  const end = text.lastIndexOf(10)
  tail.rest = Buffer.from(text.subarray(end + 1))
  atWork(() => {
    for (const line of text
      .subarray(0, end + 1)
      .toString('utf8')
      .split('\n'))
      tail.reader.add(line)
  })
  return true
}

function tokensOf({ usage }: MessageUsage): number {
  return (
    usage.input_tokens +
    usage.output_tokens +
    usage.cache_read_input_tokens +
    usage.cache_creation_input_tokens
  )
}
