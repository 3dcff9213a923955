import { Problem } from './problem.ts'
import type { HttpContext } from './routes/route.ts'

/** Where a page ends: by what the list is ordered, and what tells apart those that are equal in it. */
export type Place = { key: string | number | null; id: string | number }

/** What a list was asked for: see `paged` in protocol/list.ts. */
type Asked = { limit: number; cursor?: string | undefined; sort: string }

/** The place that a cursor of this order stands for; null without one. Throws a Problem for what is no such cursor. */
export function readCursor({ cursor, sort }: Pick<Asked, 'cursor' | 'sort'>): Place | null {
  if (cursor === undefined) return null
  const [order, key, id] = partsOf(cursor)
  if (order === sort && (key === null || isRank(key)) && isRank(id)) return { key, id }
  throw noCursor()
}

/** The same where a list is in the order of ids that are numbers: the id of its last item. */
export function readIdCursor(asked: Pick<Asked, 'cursor' | 'sort'>): number | null {
  const id = readCursor(asked)?.id ?? null
  if (typeof id === 'string') throw noCursor()
  return id
}

/** A cursor that was not made by this list. */
export function noCursor(): Problem {
  const message = 'cursor is none of this list in this order.'
  return new Problem(400, { code: 'BAD_INPUT', message, field: 'cursor' })
}

function isRank(value: unknown): value is string | number {
  return typeof value === 'string' || Number.isSafeInteger(value)
}

function partsOf(cursor: string): unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(parts) ? parts : []
  } catch {
    return []
  }
}

/**
 * The first `limit` of what was found. Where there is more, the answer links to the page after it; so ask the store
 * for one more than `limit`.
 */
export function firstPage<T>(
  context: HttpContext,
  found: readonly T[],
  { limit, sort }: Asked,
  placeOf: (item: T) => Place,
): T[] {
  const page = found.slice(0, limit)
  const last = page.at(-1)
  if (last !== undefined && found.length > limit) {
    const { key, id } = placeOf(last)
    const cursor = Buffer.from(JSON.stringify([sort, key, id])).toString('base64url')
    const next = new URLSearchParams({ ...context.req.query(), cursor })
    context.header('link', `<${context.req.path}?${next.toString()}>; rel="next"`)
  }
  return page
}

/** The place in a list that is in the order of its ids. */
export function byId({ id }: { id: number }): Place {
  return { key: null, id }
}

/** The rank of an item in an order; null comes before all others. */
export type Ranks<T> = Record<string, (item: T) => string | number | null>

/** A page of a list that is wholly at hand: ordered by one of its ranks, and by its id where that is equal. */
export function pageOf<T>(
  context: HttpContext,
  all: readonly T[],
  asked: Asked,
  ranks: Ranks<T>,
  idOf: (item: T) => string | number,
): T[] {
  const rank = ranks[asked.sort.replace('-', '')] ?? idOf
  const way = asked.sort.startsWith('-') ? -1 : 1
  const placeOf = (item: T): Place => ({ key: rank(item), id: idOf(item) })
  const order = (a: Place, b: Place): number => way * (compare(a.key, b.key) || compare(a.id, b.id))
  const after = readCursor(asked)
  const placed = all.map((item) => ({ item, place: placeOf(item) }))
  const found = placed
    .filter(({ place }) => after === null || order(place, after) > 0)
    .sort((a, b) => order(a.place, b.place))
  return firstPage(
    context,
    found.map(({ item }) => item),
    asked,
    placeOf,
  )
}

/** By code units, so that every machine has the same order; what is no number and no text comes first. */
function compare(a: Place['key'], b: Place['key']): number {
  if (a === b) return 0
  if (a === null || b === null) return a === null ? -1 : 1
  return a < b ? -1 : 1
}
