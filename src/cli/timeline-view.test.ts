import { expect, test } from 'vitest'
import type { TimelineJson } from '../protocol/records.ts'
import { createPaint } from './terminal.ts'
import { timelineLines } from './timeline-view.ts'

const NOTHING: TimelineJson = {
  tools: [],
  files: [],
  file_count: 0,
  longest: [],
  waits: [],
  waited_ms: 0,
  lost_events: 0,
}
const paint = createPaint({ write: () => true, isTTY: false }, {})

test('a timeline of nothing has no lines', () => {
  expect(timelineLines(NOTHING, paint)).toEqual([])
})

test('hook events that were lost are said in words, also where nothing else is known', () => {
  expect(timelineLines({ ...NOTHING, lost_events: 1 }, paint).join('\n')).toContain('1 hook event could not')
  const tools = [{ tool: 'Bash', calls: 2, failed: 0, total_ms: 9 }]
  const lines = timelineLines({ ...NOTHING, tools, lost_events: 12 }, paint)
  expect(lines[2]).toContain('12 hook events could not be written')
  expect(timelineLines({ ...NOTHING, tools }, paint).join('\n')).not.toContain('lost')
})
