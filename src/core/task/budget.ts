/** What was spent: tokens of every kind together, and US dollars as far as prices are known. */
export type Spent = {
  tokens: number
  costUsd: number
  /** A model that was used and whose price is not known; null: the dollars are all of it. */
  unpriced: string | null
}

/** Null: no limit. */
export type Limits = { maxTokens: number | null; maxCostUsd: number | null }

export const NOTHING_SPENT: Spent = Object.freeze({ tokens: 0, costUsd: 0, unpriced: null })

/**
 * Why nothing more may be spent, as a sentence, or null. A limit in dollars that cannot be kept, because a
 * model's price is not known, counts as reached: an unknown bill is what the limit is there to stop.
 */
export function overBudget(whose: string, spent: Spent, limits: Limits): string | null {
  const { maxTokens, maxCostUsd } = limits
  if (maxTokens !== null && spent.tokens >= maxTokens)
    return `The budget ${whose} is used up: ${spent.tokens} of ${maxTokens} tokens.`
  if (maxCostUsd === null) return null
  if (spent.costUsd >= maxCostUsd)
    return `The budget ${whose} is used up: $${spent.costUsd.toFixed(2)} of $${maxCostUsd.toFixed(2)}.`
  if (spent.unpriced !== null)
    return `The budget ${whose} is $${maxCostUsd.toFixed(2)}, and the price of ${spent.unpriced} is not known; limit its tokens instead.`
  return null
}

/** The narrower of both in each unit. */
export function narrower(a: Limits, b: Limits): Limits {
  const least = (x: number | null, y: number | null) => (x === null ? y : y === null ? x : Math.min(x, y))
  return { maxTokens: least(a.maxTokens, b.maxTokens), maxCostUsd: least(a.maxCostUsd, b.maxCostUsd) }
}
