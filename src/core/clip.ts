/** At most `max` characters, whole code points, with an ellipsis where something was cut. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text.toWellFormed()
  const cut = text.slice(0, max - 1)
  const torn = /[\uD800-\uDBFF]$/.test(cut)
  return `${(torn ? cut.slice(0, -1) : cut).toWellFormed()}…`
}

/** The same for at most `max` bytes of UTF-8; three at least. */
export function clipBytes(text: string, max: number): string {
  const bytes = new TextEncoder().encode(text)
  if (bytes.length <= max) return text.toWellFormed()
  // A stream keeps back the character that is cut in two.
  return `${new TextDecoder().decode(bytes.subarray(0, max - 3), { stream: true })}…`
}

/** How many bytes of UTF-8 a text has. */
export function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length
}

/** No secret is longer, so a word that is cut is looked for no further. */
const WORD_MAX = 1000

/** What ends a word for certain, so that no secret goes on behind it: a blank, a quote, a letter of a script without blanks. */
const BREAK = /[\s"'<>\p{Lo}]/u

/**
 * As `clip`, for a text whose secrets are still in it: the word at the cut goes as a whole, as nobody knows half a
 * secret again.
 */
export function clipWords(text: string, max: number): string {
  if (text.length <= max) return text.toWellFormed()
  if (BREAK.test(text[max - 1] ?? '')) return clip(text, max)
  for (let end = max - 1; end >= Math.max(0, max - WORD_MAX); end--)
    if (end === 0 || BREAK.test(text[end - 1] ?? '')) return `${text.slice(0, end).toWellFormed()}…`
  return clip(text, max)
}
