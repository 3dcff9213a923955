import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { KeyFilter, NewKeyBody, toKeyJson, KeyJson, NewKeyJson, RevokedUserJson } from '../../protocol/key.ts'
import { shown } from '../../protocol/faults.ts'
import type { ApiKey } from '../../core/principal.ts'
import type { AppDeps } from '../deps.ts'
import { createApiKey } from '../identity/api-key.ts'
import { pageOf, type Ranks } from '../page.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { Route } from './route.ts'

const RANKS: Ranks<ApiKey> = {
  created_at: ({ createdAt }) => createdAt,
  name: ({ name }) => name,
  last_used_at: ({ lastUsedAt }) => lastUsedAt,
}

/** The API keys, for administrators. */
export function keyRoutes({ keys, clock, projects }: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/keys',
      access: 'admin',
      about: 'The API keys, never what they are.',
      query: KeyFilter,
      reply: z.array(KeyJson),
      handle(context) {
        const asked = parseInput(KeyFilter, context.req.query())
        const page = pageOf(context, keys.list(), asked, RANKS, ({ id }) => id)
        return context.json(page.map(toKeyJson) satisfies KeyJson[])
      },
    },
    {
      method: 'POST',
      path: '/api/keys',
      access: 'admin',
      about: 'Make an API key; it is shown this once.',
      body: NewKeyBody,
      reply: NewKeyJson,
      statuses: [201],
      shownOnce: true,
      async handle(context) {
        const body = parseInput(NewKeyBody, await readBody(context))
        const known = new Set((await projects.list()).map(({ name }) => name))
        const unknown = body.projects?.find((name) => !known.has(name))
        if (unknown !== undefined) throw new CcmError('NOT_FOUND', `There is no project ${shown(unknown)}.`)
        const { key, secret } = createApiKey(
          keys,
          {
            name: body.name,
            scopes: body.scopes,
            projects: body.projects ?? null,
            expiresAt: body.expires_at === undefined ? null : Date.parse(body.expires_at),
          },
          clock(),
        )
        return context.json({ ...toKeyJson(key), key: secret } satisfies NewKeyJson, 201)
      },
    },
    {
      method: 'POST',
      path: '/api/keys/:id/revoke',
      access: 'admin',
      about: 'End an API key, by its id, the beginning of it, or its name.',
      reply: KeyJson,
      handle(context) {
        const id = context.req.param('id') ?? ''
        const found = keys.list().filter((key) => key.id.startsWith(id) || key.name === id)
        const [key, other] = found
        if (key === undefined) throw new CcmError('NOT_FOUND', `There is no key ${shown(id)}.`)
        if (other !== undefined) {
          throw new CcmError('CONFLICT', `More than one key is meant by ${shown(id)}.`, {
            remedy: 'Name it by its id: ccm keys list',
          })
        }
        keys.revoke(key.id, clock())
        return context.json(toKeyJson(keys.byId(key.id)?.key ?? key) satisfies KeyJson)
      },
    },
    {
      method: 'POST',
      path: '/api/users/:id/revoke',
      access: 'admin',
      about: 'Refuse the tokens of a user that were issued until now.',
      reply: RevokedUserJson,
      handle(context) {
        const id = context.req.param('id') ?? ''
        if (!/^[\w.@:-]{1,128}$/.test(id)) throw new CcmError('BAD_INPUT', 'That is not the id of a user.')
        const at = clock()
        keys.revokeUser(id, at)
        return context.json({ id, revoked_at: new Date(at).toISOString() })
      },
    },
  ]
}
