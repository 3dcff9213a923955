import type { MessageUsage } from '../core/task/usage.ts'

/**
 * US dollars for these API messages together, 0 for none; null as soon as one model's price is not known, for
 * a part of the cost would read like the whole. Prices are those the price package was published with; nothing
 * is fetched. They are taken message by message, because some models charge more for a long context, which a sum
 * over messages would wrongly reach.
 *
 * The package is loaded at the first call: it takes 36 ms and 20 MB, which an idle daemon must not hold.
 */
export async function costOf(messages: Iterable<MessageUsage>): Promise<number | null> {
  const all = [...messages]
  if (all.length === 0) return 0
  const { calcPrice } = await import('@pydantic/genai-prices')
  let sum = 0
  for (const { model, usage, cacheCreation1hTokens, webSearches } of all) {
    const cacheRead = usage.cache_read_input_tokens
    const cacheWrite = usage.cache_creation_input_tokens
    // The package counts input with the cache in it, Anthropic's API without.
    const input = usage.input_tokens + cacheRead + cacheWrite
    const price = calcPrice(
      {
        input_tokens: input,
        output_tokens: usage.output_tokens,
        cache_read_tokens: cacheRead,
        cache_write_tokens: cacheWrite,
        ...(cacheCreation1hTokens > 0
          ? { cache_write_1h_tokens: Math.min(cacheCreation1hTokens, cacheWrite) }
          : {}),
        ...(webSearches > 0 ? { web_searches: webSearches } : {}),
      },
      model,
      { providerId: 'anthropic' },
    )
    if (!price || !isExactly(model, price.model.id, price.model.match)) return null
    sum += price.total_price
  }
  return Number.isFinite(sum) ? sum : null
}

/**
 * The package matches by prefix (it prices `claude-sonnet-5-5` as `claude-sonnet-5`): only the entry's own id,
 * that id with a date, and names it lists letter by letter are accepted.
 */
function isExactly(model: string, id: string, match: unknown): boolean {
  if (model === id) return true
  const base = id.replace(/-(?:latest|0)$/, '')
  if (model === base) return true
  if (model.startsWith(`${base}-`) && /^\d{8}$/.test(model.slice(base.length + 1))) return true
  return namesIn(match).includes(model)
}

function namesIn(match: unknown): string[] {
  if (typeof match !== 'object' || match === null) return []
  if ('equals' in match && typeof match.equals === 'string') return [match.equals]
  if ('or' in match && Array.isArray(match.or)) return match.or.flatMap(namesIn)
  return []
}
