import type { Told } from '../core/outside/reply.ts'
import { retryAfterMsOf } from '../core/retry-after.ts'

/** Comments on issues of one GitHub, by its REST API. A token is a secret. */
export type GithubComments = {
  /** Writes a comment, or changes the one with this id while there is one; `mark` is in its text and finds one of before a crash. */
  write: (
    issue: { repository: string; number: number },
    comment: { ref: string | null; mark: string; mayExist: boolean; text: string },
    signal: AbortSignal,
  ) => Promise<Told>
}

type Reply = { ok: boolean; status: number; body: unknown; retryAfterMs: number | null }

const PAGES_MAX = 5

export function createGithubComments(github: { apiUrl: string; token: string }): GithubComments {
  const call = async (method: string, path: string, body: unknown, signal: AbortSignal): Promise<Reply> => {
    const response = await fetch(`${github.apiUrl}${path}`, {
      method,
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${github.token}`,
        'user-agent': 'ccm',
        'x-github-api-version': '2022-11-28',
        ...(body === null ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === null ? {} : { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal,
    })
    const { ok, status, headers } = response
    const parsed: unknown = await response.json().catch(() => null)
    return { ok, status, body: parsed, retryAfterMs: retryAfterMsOf(headers, Date.now()) }
  }
  const find = async (path: string, mark: string, signal: AbortSignal): Promise<string | null> => {
    for (let page = 1; page <= PAGES_MAX; page++) {
      const { ok, body } = await call('GET', `${path}?per_page=100&page=${page}`, null, signal)
      if (!ok || !Array.isArray(body)) return null
      const found = (body as { id?: unknown; body?: unknown }[]).find(
        (one) => typeof one.body === 'string' && one.body.includes(mark),
      )
      if (found !== undefined) return idOf(found)
      if (body.length < 100) return null
    }
    return null
  }
  return {
    async write({ repository, number }, { ref, mark, mayExist, text }, signal) {
      try {
        const path = `/repos/${repository}/issues/${number}/comments`
        const body = { body: text }
        const put = async (id: string | null) =>
          id === null
            ? call('POST', path, body, signal)
            : call('PATCH', `/repos/${repository}/issues/comments/${id}`, body, signal)
        let known = ref ?? (mayExist ? await find(path, mark, signal) : null)
        let reply = await put(known)
        if (known !== null && reply.status === 404) {
          // Somebody deleted it. An earlier try may have written the next.
          known = mayExist ? await find(path, mark, signal) : null
          reply = await put(known)
        }
        if (reply.ok) return { ref: known ?? idOf(reply.body) }
        const hopeless = [401, 404, 410, 422].includes(reply.status)
        return { failed: `GitHub answered HTTP ${reply.status}.`, retryAfterMs: reply.retryAfterMs, hopeless }
      } catch (error) {
        // Not its message: it may hold the URL.
        const code = (error as { cause?: { code?: unknown } }).cause?.code
        const why = typeof code === 'string' ? code : signal.aborted ? 'no answer in time' : 'unknown error'
        return { failed: `GitHub could not be reached: ${why}.`, retryAfterMs: null, hopeless: false }
      }
    },
  }
}

function idOf(comment: unknown): string | null {
  const id = (comment as { id?: unknown } | null)?.id
  return typeof id === 'number' ? String(id) : null
}
