import { type Ask, waitKindOf } from '../agent/ask.ts'
import { allowsCommand, forbidsCommand, forbidsText } from './command-rule.ts'
import { readShellCommand } from './shell-command.ts'

/** What a rule does with a permission request; `ask` leaves it to a person. Deny beats ask, ask beats allow. */
export type RuleEffect = 'allow' | 'deny' | 'ask'
export const RULE_EFFECTS = ['allow', 'deny', 'ask'] as const satisfies RuleEffect[]

/** One rule of a project; `rule` is in Claude Code's own syntax: `Bash(npm test:*)`, `Edit(src/**)`, `WebSearch`. */
export type PermissionRule = { effect: RuleEffect; rule: string }

/** What the rules say to a request, and the rules that say so; several where each part of a command needed one. */
export type Verdict = { effect: RuleEffect; rules: string[] }

/**
 * Where a file tool's path leads: as it was written and with every link followed, both absolute. The project's
 * folder in both forms too.
 */
export type Place = { path: string; realPath: string; dir: string; realDir: string; home: string }

const READING = ['Read', 'NotebookRead', 'Glob', 'Grep']
const FILE_TOOLS: Record<string, readonly string[]> = {
  Edit: ['Edit', 'Write', 'MultiEdit', 'NotebookEdit'],
  Read: READING,
  Write: ['Write'],
  MultiEdit: ['MultiEdit'],
  NotebookEdit: ['NotebookEdit'],
}

/** Why a text is no rule, as a sentence; null when it is one. */
export function ruleFault(text: string): string | null {
  if (
    text.length > 1000 ||
    text.trim() !== text ||
    text.split('').some((char) => char < ' ' || char === '\x7f')
  )
    return 'A rule is one line of at most 1000 characters.'
  const parsed = parse(text)
  if (parsed === null) return 'A rule is a tool, or a tool with a pattern: Bash(npm test:*), Edit(src/**).'
  const { tool, pattern } = parsed
  if (waitKindOf(tool) === 'question') return 'A rule cannot answer a question.'
  if (pattern === null) return null
  if (tool === 'Bash') {
    if (pattern.slice(0, -2).includes(':*')) return '`:*` stands at the end of a pattern only.'
    return null
  }
  if (tool === 'WebFetch') {
    return pattern === '*' || /^domain:(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*$/i.test(pattern)
      ? null
      : 'A pattern of WebFetch is a domain: WebFetch(domain:example.com).'
  }
  if (Object.hasOwn(FILE_TOOLS, tool)) {
    return pattern.split('/').includes('..') ? 'A path pattern holds no `..`.' : null
  }
  return `Only Bash, WebFetch and file tools (${Object.keys(FILE_TOOLS).join(', ')}) take a pattern.`
}

/**
 * The rule as Claude Code has to be told to ask for all that it is about: it looks up a file by `Edit` and `Read` rules
 * only, so that `Write(secrets/**)` as it stands never hits; takes `/secrets` as beside the settings file; and a rule
 * without a pattern as the tool of that name alone, where here `Edit` is every tool that writes (2.1.328). `dir` is
 * where the agent works.
 */
export function toAskFor(rule: string, dir: string): string[] {
  const parsed = parse(rule)
  const tools = parsed === null ? undefined : FILE_TOOLS[parsed.tool]
  if (parsed === null || tools === undefined) return [rule]
  if (parsed.pattern === null) return [...tools]
  const pattern = parsed.pattern.replace(/^\.?\/(?!\/)/, () => `/${dir === '/' ? '' : dir}/`)
  return [`${tools === READING ? 'Read' : 'Edit'}(${pattern})`]
}

/** The tools that these rules are about, as a regular expression of Claude Code's hooks; null: none. */
export function toMatcher(rules: readonly PermissionRule[]): string | null {
  const tools = rules.flatMap(({ rule }) => {
    const tool = parse(rule)?.tool
    if (tool === undefined) return []
    return FILE_TOOLS[tool] ?? [tool.startsWith('mcp__') ? `${tool.replace(/\*$/, '')}.*` : tool]
  })
  return tools.length === 0 ? null : `^(?:${[...new Set(tools)].join('|')})$`
}

/** True for a request whose rules need to know where its path leads. */
export function pathOf({ tool, input }: Ask): string | null {
  if (!Object.values(FILE_TOOLS).some((tools) => tools.includes(tool))) return null
  const path = input['file_path'] ?? input['notebook_path'] ?? input['path']
  return typeof path === 'string' ? path : tool === 'Glob' || tool === 'Grep' ? '.' : null
}

/**
 * What a project's rules say to a request: null when none is about it. A rule allows only what is certain: a
 * command that is not understood to its end, or a path that leads elsewhere by `..` or a link, is for a person
 * as soon as any rule speaks of it. `place` is needed where `pathOf` gives a path.
 */
export function judge(rules: readonly PermissionRule[], ask: Ask, place: Place | null): Verdict | null {
  const known = rules.flatMap(({ effect, rule }) => {
    const parsed = parse(rule)
    return parsed === null || ruleFault(rule) !== null ? [] : [{ ...parsed, effect, rule }]
  })
  if (ask.tool === 'Bash') return judgeCommand(known, ask)
  let doubt: string | null = null
  for (const effect of ['deny', 'ask', 'allow'] as const) {
    // What may be forbidden is allowed by no rule.
    if (effect === 'allow' && doubt !== null) return { effect: 'ask', rules: [doubt] }
    for (const rule of known.filter((one) => one.effect === effect)) {
      const hit = isAbout(rule, ask, place, effect)
      if (hit === 'yes') return { effect, rules: [rule.rule] }
      if (hit === 'maybe') doubt ??= rule.rule
    }
  }
  return null
}

type Parsed = { tool: string; pattern: string | null }
type Known = Parsed & PermissionRule

function parse(text: string): Parsed | null {
  const [, tool, , pattern] = /^([A-Za-z][\w-]*\*?)(\((.*)\))?$/s.exec(text) ?? []
  if (tool === undefined || pattern === '') return null
  // Of tools only those of a server have names that share a beginning for a reason.
  if (tool.endsWith('*') && (!tool.startsWith('mcp__') || pattern !== undefined)) return null
  return { tool, pattern: pattern ?? null }
}

function isTool(rule: string, tool: string): boolean {
  if (rule === tool) return true
  if (rule.endsWith('*')) return tool.startsWith(rule.slice(0, -1))
  // `mcp__server` stands for all its tools.
  if (rule.startsWith('mcp__') && !rule.slice(5).includes('__')) return tool.startsWith(`${rule}__`)
  return FILE_TOOLS[rule]?.includes(tool) === true
}

function isAbout(
  { tool, pattern }: Parsed,
  ask: Ask,
  place: Place | null,
  effect: RuleEffect,
): 'yes' | 'maybe' | 'no' {
  if (!isTool(tool, ask.tool)) return 'no'
  if (pattern === null) return 'yes'
  if (tool === 'WebFetch') {
    const isHit = pattern === '*' || isDomain(pattern.slice('domain:'.length).toLowerCase(), ask, effect)
    return isHit ? 'yes' : 'no'
  }
  // It leads nobody knows where.
  if (place === null) return effect === 'allow' ? 'no' : 'maybe'
  const hits = [
    isPath(pattern, place.path, place.dir, place.home),
    isPath(pattern, place.realPath, place.realDir, place.home),
  ]
  // What a search by name reads is said by its own pattern too, which may lead anywhere.
  const { pattern: searched } = ask.input
  const leadsAway =
    ask.tool === 'Glob' && typeof searched === 'string' && /^[/~]|(?:^|\/)\.\.(?:\/|$)/.test(searched)
  if (effect === 'allow') return hits.every(Boolean) && !leadsAway ? 'yes' : 'no'
  if (hits.includes(true)) return 'yes'
  if (ask.tool !== 'Grep' && ask.tool !== 'Glob') return 'no'
  const isNear =
    leadsAway ||
    isAround(pattern, place.path, place.dir, place.home) ||
    isAround(pattern, place.realPath, place.realDir, place.home)
  return isNear ? 'maybe' : 'no'
}

/** Whether a search in this place may find what the pattern names: from above it, or among what its wildcards stand for. */
function isAround(pattern: string, path: string, dir: string, home: string): boolean {
  const inside = pattern.replace(/^(?:\/\/|~\/|\.?\/)/, '')
  const isAnywhere = inside === pattern && !pattern.replace(/\/$/, '').includes('/')
  const start = pattern.startsWith('//') ? '' : (pattern.startsWith('~/') ? home : dir).replace(/\/$/, '')
  const parts = isAnywhere ? [] : inside.replace(/\/$/, '').split('/')
  const wildAt = parts.findIndex((part) => /[*?]/.test(part))
  const fixed = [start, ...(wildAt < 0 ? parts : parts.slice(0, wildAt))].join('/') || '/'
  return isUnder(fixed, path) || ((isAnywhere || wildAt >= 0) && isUnder(path, fixed))
}

function isDomain(wanted: string, { input }: Ask, effect: RuleEffect): boolean {
  let url: URL
  try {
    url = new URL(String(input['url']))
  } catch {
    // Not even an address: nothing allows it, and whatever is denied may be meant.
    return effect !== 'allow'
  }
  if (effect === 'allow') {
    if (!['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '')
      return false
  }
  const host = url.hostname.replace(/\.$/, '')
  return wanted.startsWith('*.') ? host.endsWith(wanted.slice(1)) : host === wanted
}

/** As in .gitignore; `//` begins at the root of the machine, `~/` at home, everything else in the project. */
function isPath(pattern: string, path: string, dir: string, home: string): boolean {
  if (pattern.startsWith('//')) return globOf(pattern.slice(2), true).test(path.slice(1))
  if (pattern.startsWith('~/'))
    return isUnder(path, home) && globOf(pattern.slice(2), true).test(within(path, home))
  if (!isUnder(path, dir)) return false
  const inside = pattern.replace(/^\.?\//, '')
  return globOf(inside, inside !== pattern || inside.replace(/\/$/, '').includes('/')).test(within(path, dir))
}

function isUnder(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir === '/' ? '/' : `${dir}/`)
}

function within(path: string, dir: string): string {
  return path.slice(dir === '/' ? 1 : dir.length + 1)
}

/** Matches the path and, as a folder, all below it. */
function globOf(glob: string, anchored: boolean): RegExp {
  const source = glob.replace(/\/$/, '').replace(/\*\*\/|\/\*\*$|\*\*|\*|\?|[\\^$.|+()[\]{}/]/g, (part) => {
    if (part === '**/') return '(?:[^/]+/)*'
    if (part === '/**') return '/.+'
    if (part === '**') return '.*'
    if (part === '*') return '[^/]*'
    return part === '?' ? '[^/]' : `\\${part}`
  })
  return new RegExp(`^${anchored ? '' : '(?:[^/]+/)*'}${source}(?:/.*)?$`, 's')
}

function judgeCommand(known: readonly Known[], { input }: Ask): Verdict | null {
  const about = known.filter((rule) => rule.tool === 'Bash')
  const of = (effect: RuleEffect) => about.filter((rule) => rule.effect === effect)
  const raw = typeof input['command'] === 'string' ? input['command'] : ''
  const outside = input['dangerouslyDisableSandbox'] === true
  const commands = outside ? null : readShellCommand(raw)
  let uncertain: string | null = null
  for (const effect of ['deny', 'ask'] as const) {
    for (const rule of of(effect)) {
      if (isWhole(rule.pattern) || rule.pattern === raw) return { effect, rules: [rule.rule] }
      const { pattern } = rule
      const hit = commands?.map((words) => forbidsCommand(pattern ?? '', words)) ?? [
        outside ? 'maybe' : forbidsText(pattern ?? '', raw),
      ]
      if (hit.includes('yes')) return { effect, rules: [rule.rule] }
      if (hit.includes('maybe')) uncertain ??= rule.rule
    }
  }
  const allow = of('allow')
  // Written out to the last character, it is what a person has read and meant.
  const exact = allow.find(({ pattern }) => pattern === raw && !raw.includes('*'))
  if (exact !== undefined && !outside) return { effect: 'allow', rules: [exact.rule] }
  // A part of it may be what another rule denies, so none may allow it.
  if (uncertain !== null) return { effect: 'ask', rules: [uncertain] }
  const whole = allow.find(({ pattern }) => isWhole(pattern))
  if (whole !== undefined) return { effect: 'allow', rules: [whole.rule] }
  if (commands === null) return null
  const found = commands.map((words) => allow.find(({ pattern }) => allowsCommand(pattern ?? '', words)))
  if (found.includes(undefined)) return null
  return { effect: 'allow', rules: [...new Set(found.flatMap((rule) => rule?.rule ?? []))] }
}

function isWhole(pattern: string | null): boolean {
  return pattern === null || pattern === '*' || pattern === ':*'
}
