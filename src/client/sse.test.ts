import { expect, test } from 'vitest'
import { createSseReader } from './sse.ts'

const STREAM =
  'id: 1.0\n\n: alive\n\nid: 2.0\r\nevent: hook\r\ndata: {"a":"ü: b"}\r\n\r\ndata:x\rdata: y\r\rrest'
const MESSAGES = [
  { id: '1.0', event: null, data: null },
  { id: '2.0', event: 'hook', data: '{"a":"ü: b"}' },
  { id: null, event: null, data: 'x\ny' },
]

test('a stream is read the same in one piece and at every cut', () => {
  expect(createSseReader()(STREAM)).toEqual(MESSAGES)
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const read = createSseReader()
    expect([...read(STREAM.slice(0, cut)), ...read(STREAM.slice(cut))]).toEqual(MESSAGES)
  }
  const read = createSseReader()
  expect(STREAM.split('').flatMap((character) => read(character))).toEqual(MESSAGES)
})
