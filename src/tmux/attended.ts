import { CcmError } from '../core/errors.ts'
import type { Run } from './command.ts'

/**
 * Ids of the windows at which a person is: a terminal shows it, and was attached or had a key pressed at most `withinMs`
 * before `now`. One that was left open and forgotten counts no longer. Control clients are programs and do not count.
 */
export async function attendedWindows(
  tmux: { run: Run },
  now: number,
  withinMs: number,
): Promise<Set<string>> {
  const command = ['list-clients', '-F', '#{client_control_mode} #{client_activity} #{window_id}']
  const [reply] = await tmux.run([command], { readOnly: true })
  if (!reply?.ok) throw new CcmError('TMUX_FAILED', `tmux did not list its clients: ${reply?.error}.`)
  const people = reply.text.split('\n').flatMap((line) => {
    const [control, activity, windowId = ''] = line.split(' ')
    // Whole seconds. Where the clock was set back, the last key seems to come: the next one tells the truth.
    const isThere = Math.abs(now - Number(activity) * 1000) <= withinMs + 1000
    return control === '0' && isThere ? [windowId] : []
  })
  return new Set(people)
}
