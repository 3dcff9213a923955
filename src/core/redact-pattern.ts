/**
 * Why a pattern of the configuration is refused, or null. Refused are those that match the empty text, and those
 * whose matching could take more than linear time: a repetition without an end inside a repetition, or with
 * alternatives in it.
 */
export function patternFault(source: string): string | null {
  let pattern: RegExp
  try {
    pattern = new RegExp(source, 'g')
  } catch {
    return 'is not a regular expression'
  }
  if (source.length > 500) return 'is longer than 500 characters'
  if (pattern.test('')) return 'matches the empty text, so it would blot out everything'
  if (/\\[1-9k]/.test(source)) return 'refers back to a group, which can take for ever on some texts'
  // Sets and escapes cannot nest, so they become one letter each; what is left has groups and repetitions only.
  const bare = source.replaceAll(/\\./g, 'a').replaceAll(/\[(?:\^?\]?)[^\]]*\]/g, 'a')
  const open = '(?:[*+]|\\{\\d+,\\})'
  if (new RegExp(`\\([^()]*(?:${open}|\\|)[^()]*\\)${open}`).test(bare) || nested(bare, open)) {
    return 'repeats a group that repeats or chooses, which can take for ever on some texts'
  }
  const loose = bare.match(new RegExp(`(?:\\.|a|\\))${open}`, 'g'))?.length ?? 0
  return loose > 2
    ? 'has more than two repetitions without an end, which can take for ever on some texts'
    : null
}

function nested(bare: string, open: string): boolean {
  let text = bare
  const group = /\(([^()]*)\)/
  for (let match = group.exec(text); match !== null; match = group.exec(text)) {
    const inner = match[1] ?? ''
    const repeats = new RegExp(open).test(inner) || inner.includes('|')
    const after = text.slice(match.index + match[0].length)
    if (repeats && new RegExp(`^${open}`).test(after)) return true
    text = `${text.slice(0, match.index)}${repeats ? 'a+' : 'a'}${after}`
  }
  return false
}
