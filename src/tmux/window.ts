import { CcmError } from '../core/errors.ts'
import { THEN, type Command, type Run } from './command.ts'

/** What a pane can be marked with, so that a later daemon knows whose it is; stored as `@ccm_<name>`. */
export const PANE_MARKS = ['task', 'attempt', 'project', 'session', 'epoch'] as const
type PaneMark = (typeof PANE_MARKS)[number]
/** Values are of `A-Z a-z 0-9 . _ : -`. */
export type PaneMarks = Partial<Record<PaneMark, string>>

export type OpenedWindow = { windowId: string; paneId: string; panePid: number }

/**
 * Opens a window of 200x50 in the background and starts `argv` in it, exact bytes, no shell between. It starts
 * in `/` with TMUX and TMUX_PANE set: the program changes folder and environment itself, because tmux would
 * expand a folder's name. The marks are set in the same step, so no daemon ever sees the window without them.
 * What a program prints in its very last moment may miss the screen (seen in 3.3a under load): a start script
 * that outlives the program by 100 ms keeps it. Throws BAD_INPUT before anything ran, TMUX_FAILED; after "not
 * known" look for the marks with listPanes.
 */
export async function openWindow(
  tmux: { run: Run },
  request: { name: string; argv: readonly string[]; marks?: PaneMarks },
): Promise<OpenedWindow> {
  const { name, argv, marks = {} } = request
  if (!/^[a-z0-9-]{1,100}$/.test(name))
    throw new CcmError('BAD_INPUT', `${JSON.stringify(name)} is no window name.`)
  // A single argument would go through `sh -c`.
  if (argv.length < 2) throw new CcmError('BAD_INPUT', 'A window needs a program and at least one argument.')
  // `{end}` is the window that was just added: nothing can come between the commands of a group.
  const last = '=ccm:{end}'
  const format = '#{window_id} #{pane_id} #{pane_pid}'
  const make = ['new-window', '-a', '-d', '-t', last, '-n', name, '-P', '-F', format, '--', ...argv]
  const command: Command = [
    ...make,
    // Makes the window's size manual: nobody's terminal ever resizes an agent in the middle of a reading. A
    // smaller terminal shows the part around the cursor.
    THEN,
    'resize-window',
    '-t',
    last,
    '-x',
    '200',
    '-y',
    '50',
    ...Object.entries(marks).flatMap(([mark, value]): (string | typeof THEN)[] => {
      const option = [`@ccm_${checkMark(mark)}`, checkValue(mark, value)]
      return [THEN, 'set-option', '-p', '-t', last, ...option]
    }),
  ]
  const [reply] = await tmux.run([command])
  if (!reply?.ok) throw new CcmError('TMUX_FAILED', `tmux did not open a window: ${reply?.error}.`)
  const found = /^(@\d+) (%\d+) (\d+)$/.exec(reply.text)
  if (!found?.[1] || !found[2])
    throw new CcmError('TMUX_FAILED', `tmux answered new-window with ${reply.text}.`)
  return { windowId: found[1], paneId: found[2], panePid: Number(found[3]) }
}

/** Closes a window; its program gets a hang-up and may ignore it. A window that is gone already is fine. */
export async function killWindow(tmux: { run: Run }, windowId: string): Promise<void> {
  const [reply] = await tmux.run([['kill-window', '-t', checkWindowId(windowId)]])
  if (reply?.ok === false && !reply.error.startsWith("can't find window")) {
    throw new CcmError('TMUX_FAILED', `tmux did not close the window ${windowId}: ${reply.error}.`)
  }
}

/** Gives a window a name that no agent's has: `ccm attach` finds an agent's by its name, and the next may get that one. */
export async function renameLeft(tmux: { run: Run }, windowId: string): Promise<void> {
  await tmux.run([['rename-window', '-t', checkWindowId(windowId), `left-${windowId.slice(1)}`]])
}

function checkWindowId(id: string): string {
  if (!/^@\d+$/.test(id)) throw new CcmError('BAD_INPUT', `${JSON.stringify(id)} is no tmux window id.`)
  return id
}

function checkMark(name: string): PaneMark {
  const mark = PANE_MARKS.find((known) => known === name)
  if (mark === undefined) throw new CcmError('BAD_INPUT', `${JSON.stringify(name)} is no mark of a pane.`)
  return mark
}

function checkValue(name: string, value: string): string {
  if (!/^[A-Za-z0-9._:-]{1,200}$/.test(value)) {
    throw new CcmError('BAD_INPUT', `The mark ${name} cannot be ${JSON.stringify(value)}.`)
  }
  return value
}
