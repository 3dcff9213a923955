import { expect, test } from 'vitest'
import { createControlReader, type Block } from './control-reader.ts'

const REPLIES = [
  '%begin 100 7 0',
  '%end 100 7 0',
  '%session-changed $0 ccm',
  '%begin 100 8 1',
  '%end 1 1 1',
  '%exit',
  '%begin 100 9 1',
  '%end 100 8 0',
  ' %end 100 8 1',
  'x %error 100 8 1',
  '%output %1 größe',
  '%end 100 8 1',
  '%window-add @1',
  '%begin 100 10 1',
  '%end 100 10 1',
  '%begin 101 11 1',
  "can't find pane: %9",
  '%error 101 11 1',
  '',
].join('\n')

const BLOCKS: Block[] = [
  { ours: false, ok: true, text: '' },
  {
    ours: true,
    ok: true,
    text: '%end 1 1 1\n%exit\n%begin 100 9 1\n%end 100 8 0\n %end 100 8 1\nx %error 100 8 1\n%output %1 größe',
  },
  { ours: true, ok: true, text: '' },
  { ours: true, ok: false, text: "can't find pane: %9" },
]

function readAll(bytes: Buffer, size: number): Block[] {
  const blocks: Block[] = []
  const read = createControlReader((block) => blocks.push(block))
  for (let at = 0; at < bytes.length; at += size) read(bytes.subarray(at, at + size))
  return blocks
}

test.each([1, 2, 3, 5, 13, 64, 100_000])(
  'a block ends only at its own number, whatever it shows, read in pieces of %i bytes',
  (size) => {
    expect(readAll(Buffer.from(REPLIES), size)).toEqual(BLOCKS)
  },
)

test('a block that begins with an empty line keeps it', () => {
  expect(readAll(Buffer.from('%begin 1 2 1\n\n\n%end 1 2 1\n'), 4)).toEqual([
    { ours: true, ok: true, text: '\n' },
  ])
})

test('a block of 4 MB in small pieces is read in less than two seconds', () => {
  const text = 'x'.repeat(4 * 1024 * 1024)
  // CPU time of this process: the wall clock says more about the machine's other work.
  const before = process.cpuUsage()
  expect(readAll(Buffer.from(`%begin 1 2 1\n${text}\n%end 1 2 1\n`), 65_536)[0]?.text.length).toBe(
    text.length,
  )
  const { user, system } = process.cpuUsage(before)
  expect((user + system) / 1000).toBeLessThan(2000)
})
