/** A search as it was typed, read: what FTS5 is asked, and the words to show in a snippet. */
export type SearchQuery = { match: string; words: string[] }

const WORDS_MAX = 32
/** A shorter beginning stands for so many words that the index would be read as a whole. */
const PREFIX_MIN = 3

/**
 * Reads the text a person searches for: words, all of which have to occur; `"several words"` in this order;
 * `migr*` for a beginning of at least three characters. Nothing else means anything: each word becomes a quoted FTS5 string, so no text can
 * be an operator or an error. Letters with accents are one character each, as a macOS keyboard may send two. Null when it holds no word at all.
 */
export function readSearchQuery(text: string): SearchQuery | null {
  const terms: string[] = []
  const words: string[] = []
  for (const [, quoted, quotedStar, bare] of text.normalize('NFC').matchAll(/"([^"]*)("\*?|$)|([^\s"]+)/g)) {
    const phrase = quoted ?? bare ?? ''
    const isPrefix = quoted === undefined ? phrase.endsWith('*') : quotedStar === '"*'
    const found = phrase.match(/[\p{L}\p{N}\p{Co}]+/gu)
    // What has no letter and no digit is nothing to the index either.
    if (found === null || terms.length === WORDS_MAX) continue
    const isBeginning = isPrefix && (found.at(-1)?.length ?? 0) >= PREFIX_MIN
    terms.push(`"${found.join(' ')}"${isBeginning ? '*' : ''}`)
    words.push(...found)
  }
  return terms.length === 0 ? null : { match: terms.join(' AND '), words }
}

const AROUND = 80

/** About 160 characters of a text around the first of these words, cut ends marked by `…`. */
export function snippetOf(text: string, words: readonly string[]): string {
  const plain = fold(text)
  const places = words.map((word) => plain.indexOf(fold(word))).filter((at) => at >= 0)
  // The rarest word is the longest one, as a rule, but any place where two of them stand together is better.
  const at = places.length === 0 ? 0 : Math.min(...bestOf(plain, words, places))
  const from = Math.max(0, at - AROUND / 2)
  const to = Math.min(text.length, from + 2 * AROUND)
  return `${from > 0 ? '…' : ''}${text.slice(from, to)}${to < text.length ? '…' : ''}`
}

function bestOf(plain: string, words: readonly string[], places: number[]): number[] {
  const together = plain.indexOf(words.map(fold).join(' '))
  return together >= 0 ? [together] : places
}

/** Lower case without accents, with as many characters as before, so that places stay places. */
function fold(text: string): string {
  // A text has few words, most of them often: 200 texts of 20,000 letters held up the event loop for most of a second.
  const known = new Map<string, string>()
  const plainOf = (char: string): string => {
    const plain = char.normalize('NFD').charAt(0).toLowerCase()
    return plain.length === 1 ? plain : char
  }
  return text
    .replaceAll(/[\x80-\u2fff]+/g, (letters) => {
      const plain = known.get(letters) ?? letters.replaceAll(/[^]/g, plainOf)
      known.set(letters, plain)
      return plain
    })
    .replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())
}
