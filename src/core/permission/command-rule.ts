import { wordsInText, type ShellWord } from './shell-command.ts'

/** Commands that run what their arguments say: what they do cannot be told from their name. */
const RUNNERS = new Set(
  'sudo doas su env nohup nice ionice timeout time stdbuf setsid xargs parallel watch find sh bash dash zsh ksh fish busybox chroot unshare ssh script strace flock deno bun awk gawk mawk nawk tclsh npx uvx'.split(
    ' ',
  ),
)
/** With their version, too. */
const INTERPRETER = /^(?:python|pypy|node|nodejs|perl|ruby|php|lua)[\d.]*$/
/** Of the shell itself: the index of a variable is calculated, and may hold a command. */
const CALCULATES = /^(?:let|test|printf|read|unset|declare|typeset|local|export|readonly|mapfile|readarray)$/

/**
 * Whether a simple command is the one of an allowing pattern: word by word, where `:*` or a last `*` stands for any
 * further words and `*` inside a word for any characters of it. A word that the shell would still expand is only ever
 * one of those further words.
 */
export function allowsCommand(pattern: string, words: readonly ShellWord[]): boolean {
  const open = /(?:^|[^\s:]):\*$|(?:^|\s)\*$/.test(pattern)
  const wanted = wordsOf(pattern.replace(open ? /:?\*$/ : /$^/, ''))
  if (words.length < wanted.length || (!open && words.length > wanted.length)) return false
  return wanted.every((want, index) => {
    const word = words[index]
    return word !== undefined && isGlob(want, word.text) && (!word.wild || want === '*')
  })
}

/**
 * Whether a simple command is what a forbidding pattern means: `yes` where the whole command is the pattern, in which `*`
 * stands for any characters as in Claude Code, whatever the path of its program; `maybe` where it runs what its words say,
 * or where the pattern's words stand anywhere in it in their order: behind options, `git -C . push`, or behind a program
 * that runs them, `taskset 1 rm x`. Quotes in the pattern are the shell's.
 */
export function forbidsCommand(pattern: string, words: readonly ShellWord[]): 'yes' | 'maybe' | 'no' {
  const wanted = wantedOf(pattern)
  const [first = '', ...rest] = words.map(({ text }) => text)
  const whole = wanted.join(' ')
  const isWhole = (text: string) =>
    isGlob(whole, text) || (whole.endsWith(' *') && isGlob(whole.slice(0, -2), text))
  if ([first, nameOf(first)].some((program) => isWhole([program, ...rest].join(' ')))) return 'yes'
  return isRunner(words) || standIn(wanted, words) ? 'maybe' : 'no'
}

/** The same of a shell text that is not read: `maybe` unless nothing in it can be what the pattern means. */
export function forbidsText(pattern: string, text: string): 'maybe' | 'no' {
  const words = wordsInText(text)
  if (words === null || words.some((word, index) => isRunner([word, ...words.slice(index + 1, index + 3)])))
    return 'maybe'
  return standIn(wantedOf(pattern), words) ? 'maybe' : 'no'
}

function isRunner(words: readonly ShellWord[]): boolean {
  const name = nameOf(words[0]?.text ?? '')
  if (RUNNERS.has(name) || INTERPRETER.test(name)) return true
  if (CALCULATES.test(name)) return words.some(({ text }) => text.includes('['))
  // As git takes a setting, and some of those are commands.
  return words.some(({ text }, index) => text === '-c' && words[index + 1]?.text.includes('=') === true)
}

/** Whether these words stand in the command in their order, several in one of its words or not. */
function standIn(wanted: readonly string[], words: readonly ShellWord[]): boolean {
  let [at, from] = [0, 0]
  const [program = '', ...further] = wanted
  for (const want of [nameOf(program), ...further].filter((text) => !/^\*+$/.test(text))) {
    for (; ; at++, from = 0) {
      const word = words[at]
      if (word === undefined) return false
      // What the shell expands may become several words.
      if (word.wild && (expands(word.text, want) || expands(nameOf(word.text), want))) break
      const found = insideOf(want, word.text, from)
      if (found === null) continue
      from = found
      break
    }
  }
  return true
}

/** Where this word ends in a text, on its own there and not as a part of a name: `rm` is in `/bin/rm x`, not in `rm.txt`. */
function insideOf(want: string, text: string, from: number): number | null {
  const parts = want.split('*')
  // Of one with a star its longest part has to do.
  const part = parts.toSorted((one, other) => other.length - one.length)[0] ?? ''
  const start = part === parts[0] ? String.raw`(?<![\w.-])` : ''
  const end = part === parts.at(-1) ? String.raw`(?![\w-]|\.\w)` : ''
  // Some disks do not tell capital letters from small ones.
  const found = new RegExp(`${start}${part.replaceAll(/[\\^$.|?+()[\]{}/-]/g, String.raw`\$&`)}${end}`, 'gi')
  found.lastIndex = from
  return found.test(text) ? found.lastIndex : null
}

/** Whether the shell may make this word of that one; at least what stands before and behind its wild characters stays. */
function expands(word: string, want: string): boolean {
  const parts = word.toLowerCase().split(/[*?[\]^~]/)
  const [head, tail] = [parts[0] ?? '', parts.at(-1) ?? '']
  // Alone it is a folder.
  if (word === '~') return want.includes('/')
  return want.includes('*') || isGlob(`${head}*${tail}`, want.toLowerCase())
}

/** Without a regular expression: an agent writes the text, and none may hold up the daemon. */
function isGlob(glob: string, text: string): boolean {
  const [head = '', ...rest] = glob.split('*')
  const tail = rest.pop()
  if (tail === undefined) return glob === text
  let at = head.length
  for (const part of rest) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return text.startsWith(head) && text.endsWith(tail) && text.length - tail.length >= at
}

const wantedOf = (pattern: string) => wordsOf(pattern.replaceAll(/["']/g, '').replace(/:\*$/, ' *'))
const wordsOf = (text: string) => text.split(/\s+/).filter((word) => word !== '')
const nameOf = (path: string) => path.split('/').at(-1) ?? ''
