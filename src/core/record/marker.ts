/** The two lines an agent is told to end with; compared exactly, upper and lower case differ. */
export type Markers = { done: string; error: string }

/** How an agent's last message ends. `unmarked`: neither a marker nor a question, so it must be asked. */
export type Ending =
  { kind: 'done' } | { kind: 'error'; reason: string } | { kind: 'asks' } | { kind: 'unmarked' }

/**
 * Reads how a message ends. Total: any text gives an ending.
 *
 * A marker counts on a line of its own: up to three spaces before it (four are a Markdown code block) and
 * bold or italics around it are allowed; inside a code fence, a `>` quote, a list item or backticks it is
 * somebody else's text. The last marker line decides, and only at the end of the message: nothing but blank
 * lines may follow `[DONE]`, nothing but the rest of its own paragraph, which belongs to the reason, may follow
 * `[ERROR]`. A marker with more text after it is not an ending: programs print `[ERROR]` lines too, and asking
 * the agent once more costs one turn, a wrong ending costs the task.
 *
 * Without a marker a message asks when its last sentence ends with a question mark of any script, or when it
 * closes with a list of choices under such a sentence, or (English only) with an order to choose such as
 * "Please confirm ...". "Let me know if you need more" is politeness and does not count.
 */
export function readEnding(message: string, markers: Markers): Ending {
  const found = findMarker(message, markers)
  if (found?.kind === 'done') return { kind: 'done' }
  if (found?.kind === 'error') return { kind: 'error', reason: found.reason }
  return asks(readLines(message)) ? { kind: 'asks' } : { kind: 'unmarked' }
}

/**
 * The message for a person: without the marker that ends it and without blank lines at both ends. The reason
 * after `[ERROR]` stays, so nothing the agent said is lost; a marker that is not an ending stays too.
 */
export function withoutMarker(message: string, markers: Markers): string {
  const found = findMarker(message, markers)
  if (!found) return message.trim()
  const before = readLines(message)
    .slice(0, found.index)
    .map((line) => line.text)
  return (found.kind === 'done' ? before : [...before, found.reason]).join('\n').trim()
}

type Line = {
  text: string
  /** False inside a fence, a quote or an indented block: text that the agent shows, not says. */
  spoken: boolean
}
type Found = { kind: 'done'; index: number } | { kind: 'error'; index: number; reason: string }

function findMarker(message: string, markers: Markers): Found | null {
  const lines = readLines(message)
  for (let index = lines.length - 1; index >= 0; index--) {
    const line = lines[index]
    if (!line?.spoken) continue
    const said = line.text.trim()
    const isDone = stripEmphasis(said) === markers.done
    const reason = isDone ? null : reasonAfter(said, markers.error)
    if (!isDone && reason === null) continue
    const rest = lines.slice(index + 1).map((later) => later.text)
    if (reason === null) return rest.every(isBlank) ? { kind: 'done', index } : null
    const end = rest.findIndex(isBlank)
    const paragraph = end === -1 ? rest : rest.slice(0, end)
    if (!rest.slice(paragraph.length).every(isBlank)) return null
    return { kind: 'error', index, reason: [reason, ...paragraph].join('\n').trim() }
  }
  return null
}

/** The text after an error marker that starts the line, or null. A link (`[ERROR](...)`) is not a marker. */
function reasonAfter(said: string, marker: string): string | null {
  const emphasis = /^[*_]{0,3}/.exec(said)?.[0] ?? ''
  if (!said.startsWith(marker, emphasis.length)) return null
  let rest = said.slice(emphasis.length + marker.length)
  if (rest.startsWith('(')) return null
  if (emphasis !== '') {
    if (rest.startsWith(emphasis)) rest = rest.slice(emphasis.length)
    else if (rest.endsWith(emphasis)) rest = rest.slice(0, -emphasis.length)
  }
  return rest.replace(/^\s*[:：–—-]?\s*/u, '')
}

function stripEmphasis(said: string): string {
  const match = /^([*_]{1,3})(.+)\1$/su.exec(said)
  return match?.[2] ?? said
}

function isBlank(text: string): boolean {
  return text.trim() === ''
}

/** Splits into lines and marks those inside code fences, quotes and indented blocks, as CommonMark has them. */
function readLines(message: string): Line[] {
  let fence: string | null = null
  return message.split(/\r\n|\n|\r/).map((text) => {
    const mark = /^\s*(`{3,}|~{3,})(.*)$/.exec(text)
    const run = mark?.[1] ?? ''
    if (fence !== null) {
      const closes = run.startsWith(fence) && isBlank(mark?.[2] ?? '')
      if (closes) fence = null
      return { text, spoken: false }
    }
    // A line such as ```code``` is code within one line: an opening fence of backticks holds no further one.
    if (run !== '' && !(run.startsWith('`') && mark?.[2]?.includes('`'))) {
      fence = run
      return { text, spoken: false }
    }
    return { text, spoken: !/^(?: {0,3}>|\t| {4})/.test(text) }
  })
}

/** What may stand between a question mark and the end: quotes, brackets, emphasis, an emoji. No backtick: code. */
const CLOSERS = /(?:[\s"'”’»›」』）)\]}>*_~]|\p{Extended_Pictographic}|\uFE0F|\u200D|\p{EMod})+$/u
/** Latin, full-width, Arabic, Greek (U+037E), Ethiopic, and the doubled and mixed forms. */
const QUESTION = /[?？؟\u037E፧⁇⁈⁉‽]!?$/u
const LIST_ITEM = /^\s*(?:[-*+•]|\(?[0-9A-Za-z]{1,2}[.)]|\*\*[0-9A-Za-z]{1,2}[.)]?\*\*)\s+\S/u
const ORDER =
  /^(?:so |then |and )?(?:please (?:tell me|let me know|choose|pick|select|confirm|clarify|specify|decide|advise|provide|answer)\b|(?:let me know|tell me) (?:which|whether|what|how|where|who)\b|which (?:one|option) (?:do|would|should)\b)/iu

function asks(lines: Line[]): boolean {
  const spoken = lines.map((line) => (isBlank(line.text) ? '' : line.text))
  while (spoken.at(-1) === '') spoken.pop()
  if (lines[spoken.length - 1]?.spoken !== true) return false
  const last = spoken.at(-1) ?? ''
  if (endsAsking(last)) return true
  const start = spoken.lastIndexOf('') + 1
  const paragraph = spoken.slice(start)
  if (ORDER.test(lastSentence(paragraph.join(' ')))) return true
  return asksAbove(lines, spoken)
}

/** Two or more list items at the end, right under a line that asks. */
function asksAbove(lines: Line[], texts: string[]): boolean {
  let index = texts.length - 1
  let items = 0
  while (index >= 0) {
    const text = texts[index] ?? ''
    if (LIST_ITEM.test(text)) items++
    else if (text !== '' && !/^\s{2,}/.test(text)) break
    index--
  }
  return items >= 2 && lines[index]?.spoken === true && endsAsking(texts[index] ?? '')
}

/** Characters of a line's end that are looked at: the patterns above are quadratic in hostile text. */
const TAIL = 500

function endsAsking(text: string): boolean {
  return QUESTION.test(text.slice(-TAIL).replace(CLOSERS, ''))
}

function lastSentence(paragraph: string): string {
  const bare = paragraph
    .slice(-TAIL)
    .replace(CLOSERS, '')
    .replace(/[.!:。！：]+$/u, '')
  return (
    bare
      .split(/[.!?:。！？]\s+/u)
      .at(-1)
      ?.replace(/^[\s*_]+/u, '') ?? ''
  )
}
