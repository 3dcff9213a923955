import { runGit, runGitScript } from './git.ts'

/**
 * What a project's directory offers. `git`: a tree of its own can be made from `head`; `ref` is the full name of
 * what the source is on, null when detached; `prefix` is where the directory is in the work tree (`''` or `a/b/`).
 * `plain`: agents work in the directory itself, and `reason` says in a sentence why, where git is involved.
 */
export type Source =
  | { kind: 'git'; top: string; prefix: string; head: string; ref: string | null; hasSubmodules: boolean }
  | { kind: 'plain'; reason: string | null }

/** How long git may take to look at a repository; one of 100,000 files takes 0.3 s. */
const LOOK_MS = 20_000

// Answers end in NUL, because a path may hold line breaks. rev-parse adds one line break of its own.
const PROBE = `
inside=$(git rev-parse --is-inside-work-tree) || exit 3
[ "$inside" = true ] || exit 4
head=$(git rev-parse --verify -q 'HEAD^{commit}') || exit 5
git rev-parse --show-toplevel && printf '\\0' && git rev-parse --show-prefix && printf '\\0%s\\0' "$head"
git symbolic-ref -q HEAD
printf '\\0'
prefix=$(git rev-parse --show-prefix; printf x)
prefix=\${prefix%?x}
git cat-file -e "HEAD:\${prefix%/}" || exit 6
git cat-file -e HEAD:.gitmodules 2>/dev/null && printf submodules
exit 0
`

/** Looks at a directory; never throws. Nothing of the repository runs. */
export async function probeSource(dir: string): Promise<Source> {
  const reply = await runGitScript(dir, PROBE, [], { timeoutMs: LOOK_MS })
  const said = firstLine(reply.stderr)
  switch (reply.code) {
    case 0:
      break
    case 3:
      return plain(/not a git repository/.test(said) ? null : `git does not look at it: ${said}`)
    case 4:
      return plain('It is part of a git repository without a work tree.')
    case 5:
      return plain('Its git repository has no commit yet.')
    case 6:
      return plain('The last commit does not have this folder.')
    case null:
      return plain(reply.timedOut ? 'git took too long to look at it.' : null)
    default:
      return plain(`git could not look at it: ${said}`)
  }
  const [top = '', prefix = '', head = '', ref = '', more = ''] = reply.stdout.split('\0')
  return {
    kind: 'git',
    top: withoutBreak(top),
    prefix: withoutBreak(prefix),
    head,
    ref: withoutBreak(ref) === '' ? null : withoutBreak(ref),
    hasSubmodules: more === 'submodules',
  }
}

/**
 * Paths below `top` that were changed or are new, and neither committed nor ignored; a folder that is all new
 * ends with `/`. Null when git cannot tell. Clean filters may run: only for a directory a person trusts.
 */
export async function uncommitted(top: string): Promise<string[] | null> {
  const args = ['status', '--porcelain=v1', '-z', '--no-renames', '--untracked-files=normal']
  const { code, stdout } = await runGit(top, args, { timeoutMs: LOOK_MS })
  if (code !== 0) return null
  return stdout
    .split('\0')
    .filter((entry) => entry !== '')
    .map((entry) => entry.slice(3))
}

/** The first line of what git said, without its `fatal:`. */
export function firstLine(text: string): string {
  const line = text.trim().split('\n')[0] ?? ''
  return line.replace(/^(?:fatal|error): /, '').slice(0, 300)
}

function withoutBreak(text: string): string {
  return text.replace(/\n$/, '')
}

function plain(reason: string | null): Source {
  return { kind: 'plain', reason }
}
