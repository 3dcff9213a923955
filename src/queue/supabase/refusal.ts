import { clip } from '../../core/clip.ts'
import { CcmError } from '../../core/errors.ts'
import { keyFault } from './key.ts'

/** An error as supabase-js answers it; `status` is 0 where there was no HTTP answer at all. */
export type SupabaseFault = {
  call: string
  status: number
  /** Missing where a gateway answered instead of the database. */
  code?: string
  message?: string
  hint?: string | null
}

const RETRY_WHEN_FULL_MS = 30_000
/** A deadlock, a serialisation failure, a server that ends or starts: what it did was taken back or will be. */
const TRANSIENT = /^(?:40001|40P01|57P0[123]|08\w{3}|53\w{3}|PGRST00[0-3])$/

/** What a fault means for ccm, with a remedy; no message holds the key. */
export function refusalOf(fault: SupabaseFault, secretKey: string): CcmError {
  const { status, code = '', call } = fault
  const message = clip((fault.message ?? '').replaceAll(secretKey, 'sb_secret_…').replaceAll('\n', ' '), 300)
  const remedyOf = fault.hint === null || fault.hint === undefined ? {} : { remedy: fault.hint }
  switch (code) {
    case 'PT400':
      return new CcmError('BAD_INPUT', message, remedyOf)
    case 'PT404':
      return new CcmError('SUPABASE_REFUSED', message, { remedy: 'Run `ccm supabase init` to make it.' })
    case 'PT410':
      return new CcmError('NOT_FOUND', message)
    case 'PT409':
      return new CcmError('STALE_LEASE', message)
    case 'PT429':
      return new CcmError('QUEUE_FULL', message, { ...remedyOf, retryAfterMs: RETRY_WHEN_FULL_MS })
    case 'PGRST202':
    case 'PGRST205':
    case '42883':
    case '42P01':
      return new CcmError(
        'SUPABASE_REFUSED',
        `The Supabase database has no function ${call} as this ccm calls it.`,
        {
          remedy:
            'Run `ccm supabase migrate`; if it has nothing to do, reload the schema cache in the dashboard.',
        },
      )
    case '25006':
      return new CcmError('SUPABASE_UNREACHABLE', `The Supabase database takes no ${call} now: ${message}`, {
        remedy:
          'Supabase makes a project read-only when its disk is nearly full; the dashboard tells. Agents go on; what waits is sent when it takes changes again.',
      })
    case '42501':
      return rightRefused(call, message, fault.hint ?? '', secretKey)
    default:
  }
  // A value that no column takes: the same at each try.
  if (/^(?:22|54)\w{3}$/.test(code)) return new CcmError('BAD_INPUT', message, remedyOf)
  if (status === 401 || status === 403) {
    return new CcmError('SUPABASE_KEY', `Supabase refused the key: ${message}`, {
      remedy:
        'It may be expired or revoked. Copy the secret key (sb_secret_…) from the dashboard into the configuration, then run `ccm restart`: agents go on.',
    })
  }
  // A good status with a body that is none comes from somebody in between.
  if (status < 300 || status === 429 || status >= 500 || TRANSIENT.test(code)) {
    const how = status === 0 ? message : `status ${status}${message === '' ? '' : `, ${message}`}`
    return new CcmError('SUPABASE_UNREACHABLE', `Supabase did not answer ${call}: ${how}`, {
      remedy: 'Agents go on; what waits is sent when it answers again. `ccm doctor` tells more.',
    })
  }
  return new CcmError('SUPABASE_REFUSED', `Supabase refused ${call} (${code || status}): ${message}`, {
    remedy: 'Check URL and key, and run `ccm supabase migrate`.',
  })
}

/** A right is missing: the key is another one, or its role lacks what a migration should have given it. */
function rightRefused(call: string, message: string, hint: string, secretKey: string): CcmError {
  const fault = keyFault(secretKey)
  if (fault !== null) {
    return new CcmError('SUPABASE_REFUSED', `${fault} It may not call ${call}: ${message}`, {
      remedy: 'Use the secret key (sb_secret_…) of the project.',
    })
  }
  if (message.includes('row-level security')) {
    return new CcmError('SUPABASE_REFUSED', `Row level security refuses ${call}: ${message}`, {
      remedy: 'In the SQL editor: alter role service_role bypassrls;',
    })
  }
  const grant = /\bGRANT\b/i.test(hint) ? hint : grantOf(message)
  return new CcmError(
    'SUPABASE_REFUSED',
    `The database refuses ${call}; the key is known, its role lacks a right: ${message}`,
    {
      remedy: `Run \`ccm supabase migrate\`: each migration brings its rights. If it has nothing to do, somebody took this one back${grant === null ? '.' : `; in the SQL editor: ${grant}`}`,
    },
  )
}

/** The statement that gives back what the server says is missing, as the migrations gave it; null where it names nothing. */
function grantOf(message: string): string | null {
  const [, kind, name] = /^permission denied for (function|table|schema) (\w+)/.exec(message) ?? []
  if (kind === 'schema') return `grant usage on schema ${name} to service_role;`
  if (kind === 'function') return `grant execute on function public.${name} to service_role;`
  if (kind === 'table') return `grant select, insert, update, delete on public.${name} to service_role;`
  return null
}
