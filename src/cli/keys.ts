import { InvalidArgumentError } from 'commander'
import { CcmError } from '../core/errors.ts'
import { SCOPES, type Scope } from '../core/principal.ts'
import { nearestName } from '../protocol/faults.ts'
import type { KeyJson } from '../protocol/key.ts'
import { printJson, type DefineCommand } from './context.ts'
import { readSeconds } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { collect, createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

type Options = { json?: boolean }

/** `ccm keys`: API keys for programs, in place of this machine's own token. */
export const keysCommand: DefineCommand = (context, done) => {
  const list = async (options: Options) => {
    const { api } = await context.daemon({ start: true })
    const keys = await api.keys()
    if (options.json) printJson(context, keys)
    else if (keys.length === 0) context.stdout.write('No keys. Make one: ccm keys create NAME --scope read\n')
    else {
      const header = ['ID', 'NAME', 'SCOPES', 'PROJECTS', 'STATE', 'LAST USED (UTC)']
      const paint = createPaint(context.stdout, context.env)
      context.stdout.write(`${table(header, keys.map(toRow), paint).join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  return createGroup(
    'keys',
    'Make, list and revoke API keys.',
    ['ccm keys create ci --scope write --project app --expires 90d', 'ccm keys revoke ci'],
    {
      alone: list,
      subcommands: [
        createCommand('list', 'List the keys, never what they are.', ['ccm keys list']).action(list),
        createCommand('create', 'Make a key. It is printed once and cannot be shown again.', [
          'ccm keys create ci --scope read --scope write --project app --expires 90d',
        ])
          .argument('<name>', 'what it is for')
          .option('--scope <scope>', `${SCOPES.join(', ')}; may be repeated (default: read)`, collectScopes)
          .option('--project <name>', 'only for this project; may be repeated', collect)
          .option(
            '--expires <duration>',
            'how long it is good, 90d say (default: until it is revoked)',
            parseEnd,
          )
          .action(
            async (
              name: string,
              options: Options & { scope?: Scope[]; project?: string[]; expires?: string },
            ) => {
              const { api } = await context.daemon({ start: true })
              const key = await api.createKey({
                name,
                scopes: options.scope ?? ['read'],
                ...(options.project !== undefined && { projects: options.project }),
                ...(options.expires !== undefined && { expires_at: options.expires }),
              })
              if (options.json) printJson(context, key)
              else {
                // The key alone on stdout, so that it can be piped to where it is kept.
                context.stdout.write(`${key.key}\n`)
                context.stderr.write(
                  `Key ${key.id} (${key.scopes.join(', ')}) is shown this once. To end it: ccm keys revoke ${key.id}\n`,
                )
              }
              done(EXIT.ok)
            },
          ),
        createCommand('revoke', 'End a key, or all tokens of a user, within 5 s.', [
          'ccm keys revoke ci',
          'ccm keys revoke --user 3f0c1f6e-…',
        ])
          .argument('[id]', 'its id, the beginning of it, or its name')
          .option('--user <sub>', 'refuse the tokens this user has now; new ones are good')
          .action(async (id: string | undefined, options: Options & { user?: string }) => {
            if ((id === undefined) === (options.user === undefined))
              throw new CcmError('BAD_INPUT', 'Name a key, or a user with --user.', {
                remedy: 'See: ccm keys list',
              })
            const { api } = await context.daemon({ start: true })
            const ended =
              id === undefined ? await api.revokeUser(options.user ?? '') : await api.revokeKey(id)
            if (options.json) printJson(context, ended)
            else
              context.stdout.write(
                'name' in ended
                  ? `Key ${ended.id} (${oneLine(ended.name)}) is revoked.\n`
                  : `The tokens that ${ended.id} has are revoked. To shut the user out, take them from [auth.users].\n`,
              )
            done(EXIT.ok)
          }),
      ],
    },
  )
}

function toRow(key: KeyJson): string[] {
  const over = key.expires_at !== null && Date.parse(key.expires_at) <= Date.now()
  const state = key.revoked_at !== null ? 'revoked' : over ? 'over' : 'good'
  const until = state === 'good' && key.expires_at !== null ? ` until ${key.expires_at.slice(0, 10)}` : ''
  return [
    key.id,
    oneLine(key.name, 30),
    key.scopes.join(','),
    key.projects?.join(',') ?? 'all',
    `${state}${until}`,
    key.last_used_at?.slice(0, 16).replace('T', ' ') ?? 'never',
  ]
}

function collectScopes(text: string, before: Scope[] = []): Scope[] {
  const scope = SCOPES.find((name) => name === text)
  if (scope !== undefined) return [...before, scope]
  const near = nearestName(text, [...SCOPES])
  throw new InvalidArgumentError(
    `${near === null ? '' : `Did you mean ${near}? `}It must be one of ${SCOPES.join(', ')}.`,
  )
}

function parseEnd(text: string): string {
  const seconds = readSeconds(text)
  if (seconds === null || seconds < 1 || seconds > 10 * 366 * 86_400)
    throw new InvalidArgumentError('It must be a duration such as 12h or 90d, at most ten years.')
  return new Date(Date.now() + seconds * 1000).toISOString()
}
