import { z } from 'zod'

/** The longest page of any list. */
export const PAGE_MAX = 1000

/**
 * What every list takes besides its filters: `limit`, how many; `cursor`, where the page begins, as the link to the
 * next one has it; and its orders, the first of which it has unless told. `-` before a name: the greatest first.
 */
export function paged<const Sort extends string>(
  sorts: readonly [Sort, ...Sort[]],
  { limit = PAGE_MAX, max = PAGE_MAX }: { limit?: number; max?: number } = {},
) {
  return {
    limit: z.coerce.number().int().min(1).max(max).default(limit),
    cursor: z.string().min(1).max(500).optional(),
    sort: z.enum(sorts).default(sorts[0] as never),
  }
}
