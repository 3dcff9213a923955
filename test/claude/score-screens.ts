import { readFileSync } from 'node:fs'
import { readScreen, type Sighting } from '../../src/core/screen/screen.ts'

/** One labelled capture, as a line of a captures file holds it. */
export type Capture = { name: string; state: string; detail: string; screen: string; dead: boolean }

/** How a reader did on labelled captures: `right + unknown + wrong` is `total`. */
export type Score = {
  total: number
  right: number
  unknown: number
  wrong: number
  misses: { name: string; expected: string; got: string }[]
}

const STATES = ['initializing', 'ready', 'working', 'waiting', 'complete', 'error', 'limited', 'exited']

/** Parses a file of one JSON capture a line; throws an Error that names the line and its fault. */
export function parseCaptures(text: string): Capture[] {
  const captures = text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return []
    try {
      return [parseCapture(JSON.parse(line) as unknown)]
    } catch (error) {
      throw new Error(`line ${index + 1}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    }
  })
  if (captures.length === 0) throw new Error('no captures in it')
  return captures
}

function parseCapture(value: unknown): Capture {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not an object')
  const fields = value as Record<string, unknown>
  const { screen, state, detail = '', name = '' } = fields
  if (typeof screen !== 'string') throw new Error('"screen" is not a text')
  if (typeof state !== 'string' || !STATES.includes(state))
    throw new Error(`"state" is not one of ${STATES.join(', ')}`)
  const dead = fields['pane_dead']
  return {
    name: String(name),
    state,
    detail: String(detail),
    screen,
    dead: dead === true || dead === 1 || dead === '1',
  }
}

/** Scores the screen reader over captures: one screen each, nothing remembered between them. */
export function scoreCaptures(captures: Capture[]): Score {
  const score: Score = { total: captures.length, right: 0, unknown: 0, wrong: 0, misses: [] }
  for (const capture of captures) {
    const got = readScreen(capture.screen, capture.dead).kind
    if (acceptedKinds(capture).includes(got)) {
      score.right++
      continue
    }
    score[got === 'unknown' ? 'unknown' : 'wrong']++
    score.misses.push({ name: capture.name, expected: capture.state, got })
  }
  return score
}

/** A screen cannot tell complete from ready, nor an API key's 429 from a usage limit. */
function acceptedKinds({ state, detail }: Capture): Sighting['kind'][] {
  if (state === 'complete') return ['ready']
  const isKeyLimit =
    (state === 'error' && /\bstatus 429\b/.test(detail)) ||
    (state === 'limited' && /\bauth key\b/.test(detail))
  return isKeyLimit ? ['error', 'limited'] : [state as Sighting['kind']]
}

/** A score in lines for a person. */
export function describeScore({ total, right, unknown, wrong, misses }: Score): string {
  const share = ((100 * right) / total).toFixed(2)
  const list = misses.map((miss) => `  ${miss.name}: expected ${miss.expected}, got ${miss.got}\n`)
  return `${total} screens: ${right} right (${share} %), ${unknown} unknown, ${wrong} wrong\n${list.join('')}`
}

function main(args: string[]): void {
  const files = args.filter((arg) => arg !== '--json')
  const [file] = files
  if (file === undefined || files.length !== 1 || file.startsWith('-')) {
    throw new Error('usage: npm run screens -- FILE.jsonl [--json]')
  }
  let captures: Capture[]
  try {
    captures = parseCaptures(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
  const score = scoreCaptures(captures)
  process.stdout.write(args.includes('--json') ? `${JSON.stringify(score)}\n` : describeScore(score))
}

if (import.meta.main) {
  try {
    main(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 2
  }
}
