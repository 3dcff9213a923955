/** Blots secrets out of what is stored or logged. Both are idempotent and never throw. */
export type Redactor = {
  text: (text: string) => string
  /** The same value with every text in it redacted, and texts under keys such as `password` gone; JSON stays JSON. */
  value: <T>(value: T) => T
  /** False where nothing in a JSON text can be a secret: it may be kept as it is. One cheap pass. */
  mayHold: (json: string) => boolean
}

/** What a secret becomes; the start that tells its kind stays. */
export const MASK = '***'

type Rule = { find: RegExp; put: string | ((found: string, name: string, value: string) => string) }

/** Where a word begins: also behind an escape of a text within a text, of a URL, or of a terminal's colours. */
const START = String.raw`(?:(?<!\w)|(?<=\\(?:[bfnrt]|u[\dA-Fa-f]{4})|%[\dA-Fa-f]{2}|(?:\x1b|\\(?:u001b|x1b|e|033))\[[\d;]{0,20}m))`

function shape(find: RegExp, put: Rule['put']): Rule {
  return { find: new RegExp(`${START}(?:${find.source})`, `${find.flags}g`), put }
}

/** Tokens whose form tells that they are one. Every quantifier is bounded or cannot give back: linear time. */
const SHAPES: Rule[] = [
  shape(/sk-ant-[\w-]{8,}/, `sk-ant-${MASK}`),
  shape(/sk-(?=[\w-]{0,60}\d)[\w-]{16,}/, `sk-${MASK}`),
  shape(/([srp]k_(?:live|test)_)\w{10,}/, `$1${MASK}`),
  shape(/(ccmk_[a-z2-7]{12}_)[\w-]{20,}/, `$1${MASK}`),
  shape(/(gh[pousr]_|github_pat_)\w{16,}/, `$1${MASK}`),
  shape(/(A(?:KIA|SIA|BIA|CCA))[A-Z0-9]{16}\b/, `$1${MASK}`),
  shape(/(xox[abeoprs]-|xapp-)[\w-]{10,}/, `$1${MASK}`),
  shape(/(sb_secret_|sbp_)\w{8,}/, `$1${MASK}`),
  shape(/AIza[\w-]{30,}/, `AIza${MASK}`),
  shape(/(gl(?:pat|dt|ptt|soat|rt|cbt)-)[\w-]{16,}/, `$1${MASK}`),
  shape(/npm_[A-Za-z0-9]{30,}/, `npm_${MASK}`),
  shape(/(?:hf|dop_v1|shpat|shpss|pypi)[_-][\w-]{20,}/, MASK),
  shape(/(GOCSPX-|whsec_|gsk_|dckr_pat_|lin_api_|ntn_|xai-|pplx-|hvs\.|ya29\.)[\w-]{20,}/, `$1${MASK}`),
  shape(/(AGE-SECRET-KEY-1)[A-Z0-9]{20,}/, `$1${MASK}`),
  shape(/SG\.[\w-]{16,}\.[\w-]{16,}/, `SG.${MASK}`),
  shape(/eyJ[\w-]{8,}\.eyJ[\w-]{4,}(?:\.[\w-]*)?/, `eyJ${MASK}`),
  shape(/\d{8,10}:[\w-]{35}(?![\w-])/, MASK),
  shape(/((?:Bearer|Basic)\s{1,4})(?=[\w.~+/-]{0,200}[\d=])[\w.~+/=-]{8,}/i, `$1${MASK}`),
  shape(
    /((?:[Aa]uthorization|AUTHORIZATION)\\{0,4}["']?\s{0,4}[:=]\s{0,4}\\{0,4}["']?(?:\w{1,20}\s{1,4})?)(?=[\w.~-]{0,200}[\d=+/]|\w{20})[\w.~+/=-]{8,}/,
    `$1${MASK}`,
  ),
  {
    find: /(\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@"'<>\\]{0,200}:)(?!(?:\$\w+|\$?\{[^\s}@]{0,100}\}{1,2}|\$\([^\s)@]{0,100}\))@)[^\s/@"'<>\\]{1,300}(?=@)/gi,
    put: `$1${MASK}`,
  },
  { find: /(\bhttps?:\/\/)(?=[\w.~%+-]{0,300}\d)[\w.~%+-]{16,300}(?=@)/gi, put: `$1${MASK}` },
  { find: /(\bhooks\.slack\.com\/(?:services|workflows|triggers)\/)[\w/-]{8,200}/gi, put: `$1${MASK}` },
  { find: /(\bdiscord(?:app)?\.com\/api\/(?:v\d+\/)?webhooks\/\d{5,30}\/)[\w-]{8,200}/gi, put: `$1${MASK}` },
  // Of Docker's config.json and .npmrc: a name and a password in base64.
  shape(
    /(_?auth\\{0,4}["']?\s{0,4}[:=]\s{0,4}\\{0,4}["']?)([A-Za-z\d+/]{8,2000}={0,2})/i,
    (found, name, value) => (isUserAndPassword(value) ? `${name}${MASK}` : found),
  ),
  shape(
    /((?:set-)?cookie\\{0,4}["']?(?:\s{0,4}:\s{0,4}|[ =])\\{0,4}["']?)(?=[\w.-]{1,100}=[^\s;"'\\]{6})[^\n"'\\]{1,4000}/i,
    `$1${MASK}`,
  ),
  // Of netrc.
  shape(
    /((?:machine(?:\s|\\[nt]){1,20}[^\s\\"']{1,200}|default)(?:\s|\\[nt]){1,20}login(?:\s|\\[nt]){1,20}[^\s\\"']{1,200}(?:\s|\\[nt]){1,20}password(?:\s|\\[nt]){1,20})[^\s\\"']{1,200}/,
    `$1${MASK}`,
  ),
  shape(
    /(curl\b[^\n]{0,200}?\s(?:-u|--user)[ =]["']?[^\s:"'$]{1,100}:)(?!\$(?:[({]|\w+(?:[\s"']|$)))[^\s"']{1,200}/,
    `$1${MASK}`,
  ),
]

/** A name that ends in one of these holds a secret. */
const STEM =
  '(?:pass(?:word|wd|phrase)|secret|token|api[_-]?key|a(?:ccess|ccount)[_-]?key|private[_-]?key|secret[_-]?key|auth[_-]?key|signing[_-]?key|encryption[_-]?key|_pwd|_pat)'
const NAME_OF_SECRET = new RegExp(`${STEM}s?$`, 'i')
const NO_SECRET_NAME = /tokens$|^(?:next|page|continuation|sync|cursor)[_-]?token$/i

/**
 * `NAME = value` in a program, a shell line, an environment, JSON, YAML, a query string. The name is bounded and
 * begins where a word does, so a long text without blanks is gone through once.
 */
const ASSIGNMENT = new RegExp(
  String.raw`(?<![\w-])(--?)?([\w.-]{0,60}?${STEM})(\\{0,4}["'])?(\s{0,4}(?::=|=>|[=:](?!=))\s{0,4}|(?<=--[\w.-]{1,70})\s{1,4})(?:(\\{0,4}["'\`])((?:(?!\5)[^\n]){0,4000})(\5)?|([^\s"'\`,;&|<>(){}[\]\\]{1,4000}(?:(?<==\w{0,40}\d[A-Za-z]\w{0,40})[([][^\s"'\`,;&|<>\\]{0,200})?))`,
  'gi',
)

/** What stands for a secret without being one: all of the text, as a secret may begin like one. */
const PLACEHOLDER =
  /^(?:\$(?:[({].*|[\w.]*-?|[@*#?]|env:\w+)|\{\{(?:[^}]*\}\}| [^}]*)|<[^<>]*>|%(?:[sd]|\w+%|\([^)]*\)s?|\{[^}]*\})?|\*\*\*|x{3,}|\.{3,}|(?:string|number|boolean|bool|str|int|any|unknown|null|undefined|none|true|false|nil|never|object|buffer|bytes|void|text|varchar|required|optional|redacted|self|this|new|function|return|const|let|yes|async|no)[?!]?)$/i
/** What reads one in a program. */
const READS_ENVIRONMENT =
  /^(?:(?:process|import\.meta)\.env(?:\.\w+)?|import\.meta|os\.(?:environ|getenv|lookupenv)(?:\.\w+)?|env\.[a-z_]+)[?!]?$/i
const MEMBER = /^[A-Za-z_$][\w$]*(?:\??\.[A-Za-z_$][\w$]*)+[?!]?$/
const IDENTIFIERS = /^[A-Za-z_$][A-Za-z_$]*(?:\??\.[A-Za-z_$][A-Za-z_$]*)*[?!]?$/

/** Whether an unquoted value is code, a type or a name instead of a secret. */
function isCode(name: string, value: string, dashed: boolean, separator: string, after: string): boolean {
  if (dashed || /^[A-Z][A-Z0-9_]*$/.test(name)) return false
  if (/^\d{1,7}$/.test(value)) return !/pass|pwd/i.test(name)
  if (after === '(' || after === '[') return true
  if (MEMBER.test(value) && NAMES.test(value)) return true
  if (!IDENTIFIERS.test(value)) return false
  // `password = hunter`: letters alone are a value only where a line of YAML or of an environment ends with them.
  if (value.includes('.') || NAMES.test(value) || /^[A-Z]/.test(value)) return true
  const spaced = separator.trim() !== separator && separator.includes('=')
  if (spaced || after === '' || after === '\n' || after === '\r' || after === '\\') return spaced
  return separator.includes(':') || !(after === ' ' || after === '&')
}

/**
 * A redactor of the known shapes. `values` are secrets themselves, wherever they stand (six characters at least);
 * `patterns` are further shapes as sources of regular expressions, each checked by `patternFault`.
 */
export function createRedactor(
  options: { values?: readonly string[]; patterns?: readonly string[] } = {},
): Redactor {
  const values = [
    ...new Set((options.values ?? []).filter((value) => value.length >= 6).flatMap(spellings)),
  ].sort((a, b) => b.length - a.length)
  const patterns = (options.patterns ?? []).map((source) => new RegExp(source, 'g'))

  function text(original: string): string {
    if (!suspicious(original)) return original
    let result = original
    for (const value of values) if (result.includes(value)) result = result.replaceAll(value, () => MASK)
    result = withoutKeys(result, keysIn(result))
    for (const { find, put } of SHAPES) result = result.replace(find, put as string)
    if (NAMES.test(result)) result = result.replace(ASSIGNMENT, masked)
    for (const pattern of patterns) result = result.replace(pattern, () => MASK)
    return result
  }

  function value(given: unknown, name: string, depth: number): unknown {
    if (typeof given === 'string') {
      if (isSecretUnder(name, given) && given !== '' && !PLACEHOLDER.test(given)) return MASK
      return text(given)
    }
    if (typeof given === 'number' && Math.abs(given) >= 1000 && UNDER_WHICH_NUMBERS_GO.test(name)) return MASK
    if (typeof given !== 'object' || given === null) return given
    // Nobody nests so deep but to break something.
    if (depth > 200) return MASK
    if (Array.isArray(given)) return withoutSplitKeys(given).map((part) => value(part, name, depth + 1))
    const entries = Object.entries(given).map(
      ([key, part]) => [text(key), value(part, key, depth + 1)] as const,
    )
    return Object.fromEntries(entries)
  }

  const suspicious = (given: string): boolean =>
    MARKS.some((mark) => mark.test(given)) ||
    values.some((secret) => given.includes(secret)) ||
    patterns.length > 0

  return {
    text,
    value: <T>(given: T) => value(given, '', 0) as T,
    // A letter in disguise (\u0070) is no secret's start by its bytes, so it is looked at with its escapes undone.
    mayHold: (json) => suspicious(json) || /\\u00[2-7]/.test(json),
  }
}

/**
 * Every rule needs one of these somewhere; most payloads have none. Each alternative begins with a letter that is rare
 * in programs and looks back from there: 2 KB take 2 µs so, and 6 where the search begins at a word's first letter.
 */
const MARKS = [
  new RegExp(
    String.raw`[-_](?<=${START}(?:[srp]k|ccmk|gh[pousr]|github|xox[a-z]|xapp|sbp?|gl[a-z]{2,4}|npm|hf|dop_v1|shpat|shpss|pypi|gocspx|whsec|gsk|dckr|lin|ntn|xai|pplx|age).)|_p(?:wd|ats?\b)`,
    'i',
  ),
  /k(?:ey(?<=(?:api|access|account|private|auth|signing|encryption)[ _-]?key)|en(?<=token)|s(?<=hooks)[./]|ie(?<=cookie))|z(?<=authoriz)|u(?<=au)th\\{0,4}["']?\s{0,4}[:=]|[wp](?<=pass.)/i,
  /c(?:ret(?<=secret)|url)|b(?:earer|asic)/i,
  /A(?:KIA|SIA|BIA|CCA|Iza)|SG\.|hvs\.|ya29\.|eyJ|:(?:\/\/[^\s/@]{0,510}@|(?<=\d{8}:))/,
]
const NAMES = new RegExp(STEM, 'i')

function masked(...groups: unknown[]): string {
  const [whole, dashes, name, endQuote, separator, quote, quoted, closed, bare] = groups as (
    string | undefined
  )[]
  const offset = groups[9] as number
  const input = groups[10] as string
  const found = whole ?? ''
  const value = quoted ?? bare ?? ''
  if (value === '' || NO_SECRET_NAME.test(name ?? '') || PLACEHOLDER.test(value)) return found
  // A closing quote after a name, as in `log('password:', it)`, and a template that is filled in later.
  const closes = /^[\s,;)\]}+]/.test(value) && (closed === undefined || /[\s,;([{+=:?]$/.test(value))
  if (quote !== undefined ? closes || value.includes('${') : READS_ENVIRONMENT.test(value)) return found
  const start = found.slice(0, found.length - value.length - (quote?.length ?? 0) - (closed?.length ?? 0))
  if (quote !== undefined) return `${start}${quote}${MASK}${closed ?? ''}`
  const after = input[offset + found.length] ?? ''
  const code = isCode(name ?? '', value, dashes !== undefined, separator ?? '', after)
  return code && endQuote === undefined ? found : `${start}${MASK}`
}

/** Header fields that are secrets as a whole. */
const HEADER = /^(?:proxy-)?authorization$/i
const UNDER_WHICH_NUMBERS_GO = /(?:pass(?:word|wd|phrase)|_pwd|secret)$/i

function isSecretUnder(name: string, given: string): boolean {
  if (/^_?auth$/i.test(name)) return isUserAndPassword(given)
  if (/^(?:set-)?cookie$/i.test(name)) return /^[\w.-]{1,100}=./.test(given)
  return HEADER.test(name) || isSecretName(name)
}

/** `name:password` in base64. */
function isUserAndPassword(text: string): boolean {
  if (!/^[A-Za-z\d+/]{8,2000}={0,2}$/.test(text)) return false
  try {
    return /^[ -~]+:[ -~]+$/.test(atob(text))
  } catch {
    return false
  }
}

/** True for names such as `password`, `DB_PASSWORD`, `apiKey`: what stands under them is a secret. */
export function isSecretName(name: string): boolean {
  return NAME_OF_SECRET.test(name) && !NO_SECRET_NAME.test(name)
}

/** True for environment variables whose value is a secret by their name. */
export function isSecretVariable(name: string): boolean {
  return /KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|_PWD$/i.test(name)
}

const BEGIN = /-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----/g
/** Lines of a key: as they are, in quotes, behind line numbers or marks of a patch. */
const BODY = /(?:[\w+/=\s\\:,."'>|→]|-(?!----))*/y
/** The end of a key whose beginning is out of sight. */
const TAIL =
  /-----END (?<=((?:(?<!\\)[A-Za-z0-9+/=]{32,}(?:\\{1,4}[nr]|[\s"',+])+)+(?:(?<!\\)[A-Za-z0-9+/=]{1,31}(?:\\{1,4}[nr]|[\s"',+])+)?)-----END )[A-Z0-9 ]{0,30}PRIVATE KEY/g

/** Where the bodies of private keys stand, from and to. A program that only names the first line loses nothing. */
function keysIn(text: string): [number, number][] {
  if (!text.includes('PRIVATE KEY')) return []
  const bodies: [number, number][] = []
  for (const begin of text.matchAll(BEGIN)) {
    const bodyAt = begin.index + begin[0].length
    BODY.lastIndex = bodyAt
    const body = BODY.exec(text)?.[0] ?? ''
    if (/[A-Za-z0-9+/=]{40}/.test(body)) bodies.push([bodyAt, bodyAt + body.length])
  }
  for (const { index, 1: body = '' } of text.matchAll(TAIL))
    if (!bodies.some(([, to]) => to === index)) bodies.push([index - body.length, index])
  return bodies.toSorted(([a], [b]) => a - b)
}

/** `text` stands at `at` where the bodies were found. */
function withoutKeys(text: string, bodies: readonly [number, number][], at = 0): string {
  let result = ''
  let done = 0
  for (const [begin, end] of bodies) {
    const from = Math.max(begin - at, done)
    const to = Math.min(end - at, text.length)
    if (from >= to) continue
    result += `${text.slice(done, from)}${MASK}`
    done = to
  }
  return result + text.slice(done)
}

/** A list may hold a key line by line, as a patch does. */
function withoutSplitKeys(parts: readonly unknown[]): readonly unknown[] {
  const texts = parts.map((part) => (typeof part === 'string' ? part : ''))
  if (!texts.some((part) => part.includes('PRIVATE KEY'))) return parts
  const bodies = keysIn(texts.join('\n'))
  let at = 0
  return parts.map((part, index) => {
    const own = at
    at += (texts[index]?.length ?? 0) + 1
    return typeof part === 'string' ? withoutKeys(part, bodies, own) : part
  })
}

/** A secret as it is, in a URL, and in JSON. */
function spellings(value: string): string[] {
  return [value, encodeURIComponent(value.toWellFormed()), JSON.stringify(value).slice(1, -1)]
}
