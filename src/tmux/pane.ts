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

const FIELDS = [
  'pane_id',
  'window_id',
  'pane_pid',
  'pane_dead',
  'window_activity',
  'alternate_on',
  'pane_width',
  'pane_height',
  ...PANE_MARKS.map((mark) => `@ccm_${mark}`),
]

/**
 * Every pane of the server, also the one that keeps the session alive (it has no marks). The only way to ask
 * whether a pane lives: `display-message -t` answers for another pane when its target is gone.
 */
export async function listPanes(tmux: { run: Run }): Promise<Pane[]> {
  // Names and titles may hold any text but this: it is new each time.
  const mark = randomBytes(8).toString('hex')
  const format = `${mark}${FIELDS.map((field) => `#{${field}}`).join(' ')}${mark}#{window_name}${mark}#{pane_title}`
  const [reply] = await tmux.run([['list-panes', '-a', '-F', format]], { readOnly: true })
  if (!reply?.ok) {
    // With no session left there is no pane.
    if (reply?.error.startsWith('no current')) return []
    throw new CcmError('TMUX_FAILED', `tmux did not list its panes: ${reply?.error}.`)
  }
  const parts = reply.text.split(mark)
  const panes = new Map<string, Pane>()
  for (let i = 1; i + 2 < parts.length; i += 3) {
    const pane = readPane(parts[i] ?? '', parts[i + 1] ?? '', (parts[i + 2] ?? '').replace(/\n$/, ''))
    // A window linked into a second session is listed twice.
    panes.set(pane.paneId, pane)
  }
  return [...panes.values()]
}

function readPane(fields: string, windowName: string, title: string): Pane {
  const [paneId = '', windowId = '', pid, dead, activityS, alternate, width, height, ...values] =
    fields.split(' ')
  const marks: PaneMarks = {}
  PANE_MARKS.forEach((mark, i) => {
    if (values[i]) marks[mark] = values[i]
  })
  return {
    paneId,
    windowId,
    windowName,
    panePid: Number(pid),
    dead: dead === '1',
    title,
    activityAt: Number(activityS) * 1000,
    alternateOn: alternate === '1',
    width: Number(width),
    height: Number(height),
    marks,
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

/** How many people are attached, by whatever terminal; control clients are programs. */
export async function attachedPeople(tmux: { run: Run }): Promise<number> {
  const [reply] = await tmux.run([['list-clients', '-F', '#{client_control_mode}']], { readOnly: true })
  if (!reply?.ok) throw new CcmError('TMUX_FAILED', `tmux did not list its clients: ${reply?.error}.`)
  return reply.text.split('\n').filter((line) => line === '0').length
}

/** Refuses what is not a pane id (`%N`): names would match by prefix, and anything else may be an option. */
export function checkPaneId(id: string): string {
  if (!/^%\d+$/.test(id)) throw new CcmError('BAD_INPUT', `${JSON.stringify(id)} is no tmux pane id.`)
  return id
}
