import { randomBytes } from 'node:crypto'
import { CcmError } from '../core/errors.ts'
import type { Run } from './command.ts'
import { PANE_MARKS, type PaneMarks } from './window.ts'

/** One pane as `list-panes` tells it. `title` and `windowName` are data that anybody may have set. */
export type Pane = {
  paneId: string
  windowId: string
  windowName: string
  panePid: number
  /** The program has ended; the last screen can still be captured. */
  dead: boolean
  title: string
  /** Last output, in milliseconds since 1970, in steps of a second. */
  activityAt: number
  alternateOn: boolean
  width: number
  height: number
  marks: PaneMarks
}

/** What changes while a pane lives; the title follows as the last field. */
const LIVE = ['pane_id', 'pane_dead', 'window_activity', 'alternate_on', 'pane_width', 'pane_height']
const FIXED = ['window_id', 'pane_pid', ...PANE_MARKS.map((mark) => `@ccm_${mark}`)]

/**
 * Every pane of the server, also the one that keeps the session alive (it has no marks). The only way to ask
 * whether a pane lives: `display-message -t` answers for another pane when its target is gone. Of panes that
 * are in `known` only what changes is asked (0.5 ms for 100 panes instead of 1.1); their window name and marks
 * are those of then.
 */
export async function listPanes(
  tmux: { run: Run },
  known: ReadonlyMap<string, Pane> = new Map(),
): Promise<Pane[]> {
  if (known.size > 0) {
    const rows = await listRows(tmux, LIVE, [])
    const panes = rows.flatMap(({ fields, title }) => {
      const pane = known.get(fields[0] ?? '')
      return pane === undefined ? [] : [{ ...pane, ...toLive(fields, title) }]
    })
    if (panes.length === rows.length) return panes
  }
  const rows = await listRows(tmux, [...LIVE, ...FIXED], ['window_name'])
  return rows.map(({ fields, name, title }) => {
    const [windowId = '', pid, ...values] = fields.slice(LIVE.length)
    const marks: PaneMarks = {}
    PANE_MARKS.forEach((mark, i) => {
      if (values[i]) marks[mark] = values[i]
    })
    return { ...toLive(fields, title), windowId, windowName: name, panePid: Number(pid), marks }
  })
}

type Row = { fields: string[]; name: string; title: string }

async function listRows(tmux: { run: Run }, fields: string[], names: string[]): Promise<Row[]> {
  // Names and titles may hold any text but this: it is new each time.
  const mark = randomBytes(8).toString('hex')
  const format = [
    '',
    fields.map((field) => `#{${field}}`).join(' '),
    ...names.map((n) => `#{${n}}`),
    '#{pane_title}',
  ]
  const [reply] = await tmux.run([['list-panes', '-a', '-F', format.join(mark)]], { readOnly: true })
  if (!reply?.ok) throw new CcmError('TMUX_FAILED', `tmux did not list its panes: ${reply?.error}.`)
  const parts = reply.text.split(mark)
  const rows = new Map<string, Row>()
  const size = format.length - 1
  for (let i = 1; i + size <= parts.length; i += size) {
    const values = (parts[i] ?? '').split(' ')
    const title = (parts[i + size - 1] ?? '').replace(/\n$/, '')
    // A window that is linked into a second session is listed twice.
    rows.set(values[0] ?? '', { fields: values, name: names.length > 0 ? (parts[i + 1] ?? '') : '', title })
  }
  return [...rows.values()]
}

function toLive(
  [paneId = '', dead, activityS, alternate, width, height]: string[],
  title: string,
): Omit<Pane, 'windowId' | 'windowName' | 'panePid' | 'marks'> {
  return {
    paneId,
    dead: dead === '1',
    title,
    activityAt: Number(activityS) * 1000,
    alternateOn: alternate === '1',
    width: Number(width),
    height: Number(height),
  }
}

/**
 * The visible text of each pane, one line a row, without colours and without spaces at the ends; also of a
 * dead pane. A pane that is gone is missing in the answer. 0.06 ms of CPU a pane for all processes together.
 */
export async function capture(tmux: { run: Run }, paneIds: readonly string[]): Promise<Map<string, string>> {
  const replies = await tmux.run(
    paneIds.map((id) => ['capture-pane', '-p', '-t', checkPaneId(id)]),
    { readOnly: true },
  )
  const screens = new Map<string, string>()
  paneIds.forEach((id, i) => {
    const reply = replies[i]
    if (reply?.ok) screens.set(id, reply.text)
  })
  return screens
}

/** Refuses what is not a pane id (`%N`): names would match by prefix, and anything else may be an option. */
export function checkPaneId(id: string): string {
  if (!/^%\d+$/.test(id)) throw new CcmError('BAD_INPUT', `${JSON.stringify(id)} is no tmux pane id.`)
  return id
}
