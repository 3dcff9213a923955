/** Shortens JSON while it streams through, so that a text of any size takes the memory of what is kept. */
export type Skimmer = {
  push: (chunk: Uint8Array) => void
  /** UTF-8 JSON of the same form, shorter; of a text that was no JSON some text that is none either. */
  end: () => Uint8Array
}

export type SkimLimits = {
  /** Bytes kept of the start of a long text; at the top level as many of its end too. */
  text: number
  /** Where this much was kept, nested lists and objects are closed at their next comma; the top level at twice it. */
  total: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN = [0x7b, 0x5b]
const CLOSE = [0x7d, 0x5d]
const DEPTH_MAX = 500
/** No secret is longer, so a word that is cut is looked for no further. */
const WORD_MAX = 1000
const BREAKS = new Set(Array.from(` "'\`,;&=<>(){}[]|`, (letter) => letter.charCodeAt(0)))
const ESCAPED_BREAKS = new Set(Array.from('nrt', (letter) => letter.charCodeAt(0)))

/**
 * What was left out of a long text is told in it: `… (1234 bytes) …`. Its end is kept only at the top level, where
 * the agent's last message says how its work ended. A word that is cut goes as a whole: nobody knows half a secret
 * again.
 */
export function createSkimmer(limits: SkimLimits): Skimmer {
  const out = new Uint8Array(limits.total * 2 + (DEPTH_MAX + limits.text) * 4 + 4096)
  let length = 0
  const closers: number[] = []
  const tail = new Uint8Array(limits.text)
  const starts = new Uint8Array(limits.text)
  let inText = false
  /** Bytes of an escape that are still to come. */
  let escape = 0
  let textBytes = 0
  /** Where the text begins in `out`. */
  let textFrom = 0
  /** 0: everything is kept. Else what is deeper than this, or is this deep, is left out until it ends. */
  let skipAbove = 0
  let over = false

  const put = (byte: number) => {
    if (length < out.length) out[length++] = byte
    else over = true
  }
  const putAscii = (text: string) => {
    for (let index = 0; index < text.length; index++) put(text.charCodeAt(index))
  }

  function endText(): void {
    const behind = textBytes - limits.text
    if (behind > 0) {
      const atTop = closers.length <= 1
      const kept = atTop ? Math.min(behind, limits.text) : 0
      let from = behind - kept
      // Neither half a character nor half an escape.
      if (kept > 0 && from > 0) while (from < behind && starts[from % limits.text] === 0) from++
      if (from > 0 || !atTop) {
        if (kept > 0) from = nextWord(from, behind)
        const before = length
        length = endOfWords()
        putAscii(`… (${(atTop ? from : behind) + before - length} bytes) …`.replaceAll('…', '\\u2026'))
      }
      if (atTop) for (let index = from; index < behind; index++) put(tail[index % limits.text] ?? 0)
    }
    put(QUOTE)
  }

  /** Where the first word ends of what is kept of a text's end. */
  function nextWord(from: number, behind: number): number {
    const byteAt = (index: number) => tail[index % limits.text] ?? 0
    // Of what stood before there is nothing, so whether the first letters are escaped is unknown.
    for (let index = from + 2; index < Math.min(behind, from + WORD_MAX); index++)
      if (isBreak(byteAt, index)) return index + 1
    return from
  }

  /** Where the last whole word ends of what was kept of a text's start. */
  function endOfWords(): number {
    const byteAt = (index: number) => out[index] ?? 0
    for (let index = length - 1; index >= Math.max(textFrom, length - WORD_MAX); index--)
      if (isBreak(byteAt, index)) return index + 1
    return length
  }

  function takeText(byte: number): void {
    const isStart = escape === 0 && (byte & 0xc0) !== 0x80
    if (escape > 0) escape = escape === 5 && byte === 0x75 ? 4 : escape === 5 ? 0 : escape - 1
    else if (byte === BACKSLASH) escape = 5
    else if (byte === QUOTE) {
      inText = false
      if (skipAbove === 0) endText()
      return
    }
    if (skipAbove > 0) return
    // A character that begins within the limit is kept whole: it counts as if it ended there.
    if (textBytes < limits.text || (textBytes === limits.text && !isStart)) {
      put(byte)
      if (textBytes < limits.text) textBytes++
      return
    }
    const index = (textBytes - limits.text) % limits.text
    tail[index] = byte
    starts[index] = isStart ? 1 : 0
    textBytes++
  }

  function takeOther(byte: number): void {
    const opens = OPEN.indexOf(byte)
    if (byte === QUOTE) {
      inText = true
      textBytes = 0
      // Behind the quote, which is put below.
      textFrom = length + 1
    } else if (opens >= 0) {
      closers.push(CLOSE[opens] ?? 0)
      if (closers.length > DEPTH_MAX) over = true
    } else if (CLOSE.includes(byte)) {
      const wasSkipped = skipAbove > 0
      closers.pop()
      if (wasSkipped) {
        // Its bracket was written when the skipping began.
        if (closers.length < skipAbove) skipAbove = 0
        return
      }
    } else if (byte === COMMA && skipAbove === 0 && closers.length > 0) {
      const depth = closers.length
      if (length > limits.total * (depth === 1 ? 2 : 1)) {
        const down = depth === 1 ? 0 : 1
        for (let level = depth - 1; level >= down; level--) put(closers[level] ?? 0)
        skipAbove = down + 1
        return
      }
    }
    if (skipAbove === 0) put(byte)
  }

  return {
    push(chunk) {
      if (over) return
      for (const byte of chunk) {
        if (inText) takeText(byte)
        else takeOther(byte)
      }
    },
    end: () => out.slice(0, over ? 0 : length),
  }
}

/** A word of a JSON text ends with this byte. */
function isBreak(byteAt: (index: number) => number, index: number): boolean {
  const byte = byteAt(index)
  if (BREAKS.has(byte)) return true
  return ESCAPED_BREAKS.has(byte) && byteAt(index - 1) === BACKSLASH && byteAt(index - 2) !== BACKSLASH
}
