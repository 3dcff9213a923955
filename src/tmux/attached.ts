import { CcmError } from '../core/errors.ts'
import type { Run } from './command.ts'

/** Ids of the windows that people look at right now; control clients are programs and do not count. */
export async function attachedWindows(tmux: { run: Run }): Promise<Set<string>> {
  const command = ['list-clients', '-F', '#{client_control_mode} #{window_id}']
  const [reply] = await tmux.run([command], { readOnly: true })
  if (!reply?.ok) throw new CcmError('TMUX_FAILED', `tmux did not list its clients: ${reply?.error}.`)
  const people = reply.text.split('\n').filter((line) => line.startsWith('0 '))
  return new Set(people.map((line) => line.slice(2)))
}
