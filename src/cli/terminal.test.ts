import { expect, test } from 'vitest'
import { cellsOf, createLive, createPaint, cut } from './terminal.ts'

function screen(isTTY: boolean, columns = 20) {
  const written: string[] = []
  return { written, output: { isTTY, columns, write: (text: string) => written.push(text) } }
}

test('off a terminal there is no status line and no escape sequence', () => {
  const { written, output } = screen(false)
  const live = createLive(output, createPaint(output, {}))
  live.status('working')
  live.print('● Read a.ts')
  live.status('')
  expect(written).toEqual(['● Read a.ts\n'])
})

test('on a terminal the status line is cleared before a line and painted again below it', () => {
  const { written, output } = screen(true)
  const live = createLive(output, createPaint(output, { NO_COLOR: '1' }))
  live.status('working')
  live.status('working')
  live.print('● Read a.ts')
  live.status('')
  expect(written).toEqual(['working', '\r\u001b[2K● Read a.ts\nworking', '\r\u001b[2K'])
})

test('the status line never reaches the edge, where it would wrap and stay', () => {
  const { written, output } = screen(true, 10)
  createLive(output, createPaint(output, { NO_COLOR: '1' })).status('working: 漢字漢字漢字')
  expect(written).toEqual(['working:…'])
  expect(cellsOf(cut('漢字漢字', 5))).toBeLessThanOrEqual(5)
})

test.each([
  [true, {}, true],
  [true, { NO_COLOR: '1' }, false],
  [true, { NO_COLOR: '' }, true],
  [true, { TERM: 'dumb' }, false],
  [false, { FORCE_COLOR: '1' }, true],
  [false, { FORCE_COLOR: '0' }, false],
  [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
  [false, {}, false],
])('terminal %s with %j paints: %s', (isTTY, env, painted) => {
  expect(createPaint({ isTTY, write: () => {} }, env).red('x') !== 'x').toBe(painted)
})
