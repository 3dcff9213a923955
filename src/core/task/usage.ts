import type { ModelUsage } from './task.ts'

/** What one API message used. The two extra counts are part of its price, not of a task's result. */
export type MessageUsage = {
  /** The API's own id of the message. */
  id: string
  /** The exact id the API answered with. */
  model: string
  usage: ModelUsage
  /** How many of the written cache tokens live for an hour instead of five minutes; they cost more. */
  cacheCreation1hTokens: number
  webSearches: number
}

/** No tokens at all. */
export const NO_USAGE: ModelUsage = Object.freeze({
  input_tokens: 0,
  output_tokens: 0,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
})

/** The sum of two counts, as a new object. */
export function addUsage(a: ModelUsage, b: ModelUsage): ModelUsage {
  return {
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    cache_read_input_tokens: a.cache_read_input_tokens + b.cache_read_input_tokens,
    cache_creation_input_tokens: a.cache_creation_input_tokens + b.cache_creation_input_tokens,
  }
}

/** Tokens per exact model id; any text is a safe key. The caller counts each message once. */
export function usageByModel(messages: Iterable<MessageUsage>): Record<string, ModelUsage> {
  const sums = new Map<string, ModelUsage>()
  for (const { model, usage } of messages) sums.set(model, addUsage(sums.get(model) ?? NO_USAGE, usage))
  return Object.fromEntries(sums)
}

/** The sum over all models. */
export function totalUsage(byModel: Record<string, ModelUsage>): ModelUsage {
  return Object.values(byModel).reduce(addUsage, NO_USAGE)
}
