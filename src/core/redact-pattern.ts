/** One character of a pattern, a place between two, or a group, and how often it may come. */
type Part = {
  source: string
  kind: 'one' | 'edge' | 'group' | 'ahead' | 'behind'
  choices: Part[][]
  least: number
  most: number
  /** Where its quantifier stands. */
  quantifierAt: number
}
/** In how many ways something may match at one place, and how many steps it takes to try them all. */
type Effort = { ways: number; steps: number }

/** For each character of a text, which may have a million: that takes about two seconds. */
const STEPS_MAX = 1000
/** Of comparing with one character that is always there, where trying a further length of a repetition is 1. */
const FIXED_STEP = 0.1

/**
 * Why a pattern of the configuration is refused, or null. Refused are those that match the empty text, and those
 * whose matching could take more than linear time: a repetition without an end behind which the pattern goes on, unless
 * what stands right before it ends any run of what it repeats; and whatever may match in too many ways.
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
  const { choices, refersBack } = read(source)
  if (refersBack) return 'refers back to a group, which can take for ever on some texts'
  // Under `(?i:` and `(?s:` a part stands for other characters.
  return judge(choices, /\(\?[a-z-]+:/.test(source) ? ['', 'is'] : [''])
}

const PIECE =
  /\((?:\?(?:<?[=!]|<[^>]*>|[a-z-]*:))?|\[(?:\\[^]|[^\]\\])*\]|\\(?:x[\da-f]{2}|u[\da-f]{4}|c[a-z]|0[0-7]{0,2}|[^c])|[^]/iy
const QUANTIFIER = /(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/y

/** The parts of a regular expression, which is known to be one. */
function read(source: string): { choices: Part[][]; refersBack: boolean } {
  let at = 0
  let refersBack = false
  const take = (of: RegExp): RegExpExecArray | null => {
    of.lastIndex = at
    const found = of.exec(source)
    at += found?.[0].length ?? 0
    return found
  }
  const readChoices = (): Part[][] => {
    const choices: Part[][] = [[]]
    while (at < source.length && source[at] !== ')') {
      if (take(/\|/y) !== null) choices.push([])
      else choices.at(-1)?.push(readPart())
    }
    return choices
  }
  const readPart = (): Part => {
    const from = at
    const piece = take(PIECE)?.[0] ?? ''
    refersBack ||= /^\\[1-9k]/.test(piece)
    const isGroup = piece.startsWith('(')
    const choices = isGroup ? readChoices() : []
    if (isGroup) at++
    // One backslash alone stands for itself.
    const text = piece === '\\' ? '\\\\' : source.slice(from, at)
    const quantifierAt = at
    const [, sign, low, comma, high] = take(QUANTIFIER) ?? []
    const least = low === undefined ? (sign === undefined || sign === '+' ? 1 : 0) : Number(low)
    const isOpen = sign === '*' || sign === '+' || (comma === ',' && high === '')
    const most = isOpen ? Infinity : low === undefined ? 1 : Number(high === '' ? low : high)
    return { source: text, kind: kindOf(piece), choices, least, most, quantifierAt }
  }
  return { choices: readChoices(), refersBack }
}

function kindOf(piece: string): Part['kind'] {
  if (!piece.startsWith('(')) return /^(?:[$^]|\\b)$/i.test(piece) ? 'edge' : 'one'
  if (/^\(\?[=!]/.test(piece)) return 'ahead'
  return /^\(\?<[=!]/.test(piece) ? 'behind' : 'group'
}

function judge(all: Part[][], modes: readonly string[]): string | null {
  let fault: string | null = null

  /**
   * `before`: the characters of fixed number that stand right before; null where the text is read backwards. `isLast`:
   * nothing comes behind that could fail, so nothing is tried twice.
   */
  type Place = { before: readonly string[] | null; isLast: boolean }

  const effortOf = (choices: Part[][], place: Place): Effort & { before: Place['before'] } => {
    const each = choices.map((parts) => {
      let effort: Effort = { ways: 1, steps: 0 }
      let { before } = place
      for (const [index, part] of parts.entries()) {
        const isLast = place.isLast && index === parts.length - 1
        const { before: after, ...next } = effortOfPart(part, { before, isLast })
        effort = { ways: effort.ways * next.ways, steps: effort.steps + effort.ways * next.steps }
        before = after
      }
      return { ...effort, before }
    })
    const [only] = each
    if (only !== undefined && each.length === 1) return only
    const sum = (of: (effort: Effort) => number) => each.reduce((total, effort) => total + of(effort), 0)
    return { ways: sum(({ ways }) => ways), steps: sum(({ steps }) => steps), before: place.before && [] }
  }

  const effortOfPart = (part: Part, place: Place): Effort & { before: Place['before'] } => {
    const { source, kind, choices, least, most } = part
    const { before, isLast } = place
    const behind = (more: string[]) => before && [...before, ...more]
    if (kind === 'edge') {
      const edge =
        source === '^' ? [String.raw`[\n\r\u2028\u2029]`] : source === '\\b' ? [String.raw`\W`] : []
      return { ways: 1, steps: FIXED_STEP, before: behind(edge) }
    }
    if (kind === 'ahead' || kind === 'behind') {
      const inner = effortOf(choices, { before: kind === 'ahead' ? before : null, isLast: false })
      return { ways: 1, steps: inner.steps, before }
    }
    if (kind === 'one') {
      if (least === most)
        return { ways: 1, steps: least === 1 ? FIXED_STEP : least, before: behind(least > 0 ? [source] : []) }
      const after = before && (least > 0 ? [source] : [])
      if (isLast || isApart(before, [source])) return { ways: 1, steps: least + 1, before: after }
      if (most === Infinity) refuse(part)
      return { ways: most - least + 1, steps: most, before: after }
    }
    const inner = effortOf(choices, {
      before: before && (most > 1 ? [] : before),
      isLast: isLast && least <= 1,
    })
    const after = before && (choices.length === 1 && least > 0 ? inner.before : [])
    if (least === 1 && most === 1) return { ...inner, before: after }
    if (isLast) {
      const ways = inner.ways ** Math.max(1, least)
      return { ways, steps: inner.steps * ways, before: after }
    }
    if (most === Infinity) {
      const fixed = fixedIn(choices)
      if (fixed === null || !isApart(before, fixed)) refuse(part)
      return { ways: 1, steps: inner.steps * Math.max(1, least), before: after }
    }
    let ways = 0
    for (let times = least; times <= most && ways <= STEPS_MAX; times++) ways += inner.ways ** times
    return { ways, steps: inner.steps * most * inner.ways ** most, before: after }
  }

  /** Whether one of the characters before is none of these: then a run of these has few beginnings. */
  const isApart = (before: readonly string[] | null, these: readonly string[]): boolean =>
    before?.some((one) => these.every((other) => !overlap(one, other))) === true
  let every = ''
  const overlap = (one: string, other: string): boolean => {
    if (every === '') for (let code = 0; code < 0x10000; code++) every += String.fromCharCode(code)
    return modes.some((mode) =>
      modes.some((otherMode) => new RegExp(`(?=(?${mode}:${one}))(?${otherMode}:${other})`).test(every)),
    )
  }
  const refuse = ({ quantifierAt, least }: Part) => {
    fault ??= `goes on behind the repetition without an end at character ${quantifierAt + 1}, which can take for ever on some texts: say how often at most, as in {${least},200}`
  }

  const { steps } = effortOf(all, { before: [], isLast: true })
  if (fault !== null) return fault
  return steps > STEPS_MAX
    ? 'may match in very many ways, which can take for ever on some texts: let its repetitions end earlier'
    : null
}

/** What a group is made of that has one character after the other, and nothing else; null for any other. */
function fixedIn([parts = [], ...others]: Part[][]): string[] | null {
  const isFixed = parts.every(({ kind, least, most }) => kind === 'one' && least === most)
  return isFixed && others.length === 0 ? parts.map(({ source }) => source) : null
}
