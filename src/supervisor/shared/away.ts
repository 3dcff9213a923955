import { CcmError } from '../../core/errors.ts'

/** The shared queue does not answer, or refuses the key of this machine; both may be over again. */
export function isAway(error: unknown): boolean {
  return isKeyRefused(error) || (error instanceof CcmError && error.code === 'SUPABASE_UNREACHABLE')
}

/** The shared queue refuses the key: at a start that is a wrong configuration. */
export function isKeyRefused(error: unknown): boolean {
  return error instanceof CcmError && error.code === 'SUPABASE_KEY'
}
