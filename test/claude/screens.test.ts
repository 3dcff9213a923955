import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { describeScore, parseCaptures, scoreCaptures, type Capture } from './score-screens.ts'

const FOLDER = join(import.meta.dirname, 'screens')
const captures = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.txt'))
  .map((name): Capture => {
    const state = name.split('/').at(-2) ?? ''
    return { name, state, detail: '', screen: readFileSync(join(FOLDER, name), 'utf8'), dead: false }
  })

describe('the recorded screens', () => {
  test('cover every state, both renderers and three sizes', () => {
    const states = new Set(captures.map((capture) => capture.state))
    expect([...states].toSorted()).toEqual([
      'error',
      'exited',
      'initializing',
      'limited',
      'ready',
      'waiting',
      'working',
    ])
    for (const format of [
      '200x50-classic',
      '200x50-fullscreen',
      '120x40-',
      '80x24-classic',
      '80x24-fullscreen',
    ]) {
      expect(captures.filter((capture) => capture.name.includes(format)).length).toBeGreaterThan(5)
    }
  })

  test('are read right in 99 of 100 cases, and never wrongly', () => {
    const score = scoreCaptures(captures)
    console.log(describeScore(score))
    expect(score.misses.filter((miss) => miss.got !== 'unknown')).toEqual([])
    expect(score.right / score.total).toBeGreaterThanOrEqual(0.99)
  })

  test('hold no name of the machine that recorded them', () => {
    const machine = /ccm-screens-(?!XXXXXX)\w+|\/(?:work|home|root)\/(?!lib)/
    expect(captures.filter((capture) => machine.test(capture.screen)).map(({ name }) => name)).toEqual([])
  })

  // A window made smaller, or a capture that was torn: the answer may be missing, but not false.
  test('are never read wrongly when their lower part is missing', () => {
    // A client that has gone leaves its last frame above its last words.
    const live = captures.filter((capture) => capture.state !== 'exited')
    const cut = live.flatMap((capture) => {
      const lines = capture.screen.trimEnd().split('\n')
      return [0.3, 0.5, 0.7, 0.9].map((share) => {
        const screen = `${lines.slice(0, Math.floor(lines.length * share)).join('\n')}\n`
        return { ...capture, name: `${capture.name} at ${share}`, screen }
      })
    })
    const wrong = scoreCaptures(cut).misses.filter((miss) => miss.got !== 'unknown')
    // The upper part of a fresh session is the very text of a start before the input box.
    expect(wrong.filter((miss) => miss.got !== 'initializing')).toEqual([])
    const blank = (name: string) =>
      !/[❯✻]|● /.test(cut.find((capture) => capture.name === name)?.screen ?? '❯')
    expect(wrong.filter((miss) => !blank(miss.name))).toEqual([])
  })

  test('are never read wrongly when each line is torn at half its width', () => {
    const torn = captures.map((capture) => ({
      ...capture,
      screen: capture.screen.replaceAll(/^.*$/gm, (line) =>
        line.slice(0, capture.name.includes('80x') ? 40 : 60),
      ),
    }))
    expect(scoreCaptures(torn).misses.filter((miss) => miss.got !== 'unknown')).toEqual([])
  })
})

describe('npm run screens', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-score-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  function score(text: string): { status: number; stdout: string; stderr: string } {
    const file = join(folder, 'captures.jsonl')
    writeFileSync(file, text)
    const args = [join(import.meta.dirname, 'score-screens.ts'), file, '--json']
    try {
      const stdout = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: 'pipe' })
      return { status: 0, stdout, stderr: '' }
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string }
      return { status, stdout, stderr }
    }
  }

  test('prints one JSON document and nothing else', () => {
    const lines = [
      { name: 'a', state: 'initializing', detail: '', screen: '\n\n\n', pane_dead: '0' },
      { name: 'b', state: 'exited', detail: '', screen: 'anything', pane_dead: '1' },
      { name: 'c', state: 'ready', detail: '', screen: 'Pane is dead\n', pane_dead: '0' },
      { name: 'd', state: 'working', detail: '', screen: 'noise\n', pane_dead: '0' },
    ]
    const { stdout, status } = score(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toEqual({
      total: 4,
      right: 2,
      unknown: 1,
      wrong: 1,
      misses: [
        { name: 'c', expected: 'ready', got: 'exited' },
        { name: 'd', expected: 'working', got: 'unknown' },
      ],
    })
  })

  test.for([
    ['a line that is no JSON', '{"name": \n', /line 1/],
    ['a line without a screen', '{"name":"a","state":"ready"}\n', /line 1: "screen"/],
    ['a state nobody knows', '{"screen":"","state":"happy"}\n', /line 1: "state"/],
    ['no line at all', '\n', /no captures/],
  ] as const)('refuses %s with exit code 2', ([, text, message]) => {
    const { status, stdout, stderr } = score(text)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toMatch(message)
  })

  test('takes complete for ready, and an API key at its limit for error or limited', () => {
    const file = join(folder, 'empty')
    const captureOf = (state: string, detail: string, screen: string) =>
      scoreCaptures(parseCaptures(JSON.stringify({ name: file, state, detail, screen }))).right
    const screen = readState('error', 'error-429')
    expect(captureOf('error', 'API error ended, status 429', screen)).toBe(1)
    expect(captureOf('limited', 'usage limit five_hour, auth key', screen)).toBe(1)
    expect(captureOf('limited', 'usage limit five_hour, auth oauth', screen)).toBe(0)
    expect(captureOf('complete', '', readState('ready', 'quotes-footer'))).toBe(1)
  })
})

function readState(state: string, name: string): string {
  const found = captures.find((capture) => capture.state === state && capture.name.includes(`/${name}-`))
  if (found === undefined) throw new Error(`no recorded screen ${state}/${name}`)
  return found.screen
}
