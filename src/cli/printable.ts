/* oxlint-disable no-control-regex -- this file is about control characters */

// CSI, then OSC/DCS/APC/PM/SOS up to their end (or the end of the text), then shorter escapes; each also in
// its one-character C1 form.
const ESCAPES =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)|\x1b[ -/]*[0-~]?/g
const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g
// Marks that reorder or hide text: bidirectional controls, zero-width characters, tags, line separators.
const INVISIBLE =
  /[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu
// Joiners build emoji and Persian words, so they are shown only where every character counts.
const JOINERS = /[\u200c\u200d]/g

/**
 * Text from an agent made safe to print: escape sequences and control characters are gone, except newline
 * and tab, and so are invisible characters that hide or reorder text.
 */
export function printable(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(ESCAPES, '').replace(CONTROLS, '').replace(INVISIBLE, '')
}

/** Like `printable`, on one line of at most `max` characters; what was cut ends in `…`. */
export function oneLine(text: string, max = 200): string {
  const flat = printable(text).replace(/\s+/g, ' ').trim()
  const characters = Array.from(flat)
  return characters.length <= max ? flat : `${characters.slice(0, max - 1).join('')}…`
}

/**
 * Text that a person is asked to approve: nothing is removed, and everything that would not show is written
 * out (`\x1b`, `\u{202e}`), so that what is read is what would run. Newlines and tabs stay.
 */
export function visible(text: string): string {
  return text
    .replace(CONTROLS, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replace(INVISIBLE, writtenOut)
    .replace(JOINERS, writtenOut)
}

// A string is all that such a character can stand in, and JSON.stringify writes out those below U+0020 only.
const RAW_IN_JSON = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/**
 * A document as JSON that any program reads as it was, and that a terminal shows as it stands: DEL, the controls of
 * C1, those that reorder text and the separators of lines are written as `\uXXXX`.
 */
export function toJsonText(document: unknown, indent?: number): string {
  return JSON.stringify(document, null, indent).replace(
    RAW_IN_JSON,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function writtenOut(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`
}
