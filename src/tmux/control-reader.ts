/** One reply block of control mode. `ours`: flag 1, the answer to a line that this client wrote. */
export type Block = { ours: boolean; ok: boolean; text: string }

const BEGIN = Buffer.from('%begin ')
const EMPTY: Buffer = Buffer.alloc(0)
const NEWLINE = 0x0a

/**
 * Splits a control client's output into reply blocks. tmux does not escape what stands in a block, so a
 * block ends only at the `%end` or `%error` line with the very time, number and flag of its `%begin`; a pane
 * that shows `%end 1 1 1`, `%exit` or `%output` stays text. Lines between blocks are notices and are dropped.
 */
export function createControlReader(onBlock: (block: Block) => void): (chunk: Buffer) => void {
  let rest = EMPTY
  let open: { tail: string; ours: boolean } | null = null
  // Where the search for the end goes on; without it a 1 MB block would be searched again for each chunk.
  let searched = 0

  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    for (;;) {
      if (open === null) {
        const lineEnd = rest.indexOf(NEWLINE, at)
        if (lineEnd === -1) break
        open = readBegin(rest, at, lineEnd)
        at = lineEnd + 1
        searched = at
        continue
      }
      const end = findEnd(rest, at, searched, open.tail)
      if (end === null) {
        searched = Math.max(at, rest.length - open.tail.length - '\n%error'.length)
        break
      }
      const block = { ours: open.ours, ok: end.ok, text: rest.toString('utf8', at, Math.max(at, end.at - 1)) }
      at = end.next
      open = null
      onBlock(block)
    }
    // An empty view would keep the whole chunk alive.
    rest = at === rest.length ? EMPTY : rest.subarray(at)
    searched = Math.max(0, searched - at)
  }
}

function readBegin(buffer: Buffer, from: number, to: number): { tail: string; ours: boolean } | null {
  if (buffer.compare(BEGIN, 0, BEGIN.length, from, Math.min(from + BEGIN.length, to)) !== 0) return null
  const found = /^%begin (\d+ \d+ (\d+))$/.exec(buffer.toString('latin1', from, to))
  return found === null ? null : { tail: ` ${found[1]}\n`, ours: found[2] === '1' }
}

/** `from`: where the block's text starts. The end line stands there or after a newline. */
function findEnd(
  buffer: Buffer,
  from: number,
  searchFrom: number,
  tail: string,
): { at: number; next: number; ok: boolean } | null {
  let at = searchFrom
  for (;;) {
    const tailAt = buffer.indexOf(tail, at, 'latin1')
    if (tailAt === -1) return null
    for (const [word, ok] of [
      ['%end', true],
      ['%error', false],
    ] as const) {
      const wordAt = tailAt - word.length
      const startsLine = wordAt === from || (wordAt > from && buffer[wordAt - 1] === NEWLINE)
      if (startsLine && buffer.toString('latin1', wordAt, tailAt) === word) {
        return { at: wordAt, next: tailAt + tail.length, ok }
      }
    }
    at = tailAt + 1
  }
}
