import { randomBytes } from 'node:crypto'

const ID_BYTES = 9
const POOL_BYTES = ID_BYTES * 512

/** Makes ids of 12 characters that nobody guesses; taken from a pool, as the kernel is slow to ask for each. */
export function createRequestIds(): () => string {
  let pool = randomBytes(POOL_BYTES)
  let at = 0
  return () => {
    if (at === POOL_BYTES) {
      pool = randomBytes(POOL_BYTES)
      at = 0
    }
    at += ID_BYTES
    return pool.toString('base64url', at - ID_BYTES, at)
  }
}
