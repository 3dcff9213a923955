import { waitKindOf, type Ask } from '../core/agent/ask.ts'
import { readScreen } from '../core/screen/screen.ts'

/**
 * Claude Code shows a command between two broken lines, all of it and nothing else, and there an address before its
 * prompt; the path of a file stands above such lines, between which is what the agent writes.
 */
export function isDialogOf({ tool, input }: Ask, text: string): boolean {
  const kind = waitKindOf(tool)
  if (readScreen(text).dialog?.kind !== kind) return false
  if (kind !== 'permission') return true
  const squeeze = (part: string) => part.replaceAll(/\s/g, '')
  const dialog = text.split(/^─{20,}$/m).at(-1) ?? ''
  const [head = '', shown = '', end] = dialog.split(/^╌{20,}$|^ *Do you want to /m)
  if (tool === 'Bash') return end !== undefined && squeeze(shown) === squeeze(String(input['command']))
  if (typeof input['url'] === 'string')
    return squeeze(shown).startsWith(`url:${squeeze(input['url'])}prompt:`)
  const path = [input['file_path'], input['notebook_path']].find((name) => typeof name === 'string')
  const [title = ''] = head.trim().split('\n')
  return path !== undefined && /\b(?:file|notebook)$/i.test(title.trimEnd()) && namesPath(head, path)
}

/** Whether the path stands there: all of it, or as it is from some folder on. A line may break in the middle of it. */
function namesPath(text: string, path: string): boolean {
  const name = (path.split('/').at(-1) || path).replaceAll(/[\\^$.|?+()[\]{}*/-]/g, String.raw`\$&`)
  const paths = new RegExp(`(?<=[\\s(])(?:[^\\s(]*/)?${name}(?=[\\s)]|$)`, 'g')
  return ['', ' '].some((joint) =>
    (` ${text.trim().replaceAll(/\s*\n\s*/g, joint)}`.match(paths) ?? []).some((found) =>
      `/${path}`.endsWith(`/${found.replace(/^(?:~\/|(?:\.\.?\/)+)/, '')}`),
    ),
  )
}
