// Crockford's digits: no i, l, o, u, so that an id survives being read aloud; their order is their value.
const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz'
const LENGTH = 12
/** 15 random bits below the milliseconds; 60 bits in all last until the year 3084. */
const RANDOM_SPAN = 2 ** 15

/**
 * A new task id: 12 of 0-9 and a-z, in the order of creation, and greater than `newest` even where the clock
 * went back. Unique when `newest` is read under the same lock as the insert. `now` is in milliseconds.
 */
export function nextTaskId(now: number, random: () => number, newest: string | null): string {
  const fresh = BigInt(now) * BigInt(RANDOM_SPAN) + BigInt(Math.floor(random() * RANDOM_SPAN))
  const after = newest === null ? 0n : toNumber(newest) + 1n
  return toDigits(fresh > after ? fresh : after)
}

function toNumber(id: string): bigint {
  return Array.from(id).reduce((sum, digit) => sum * 32n + BigInt(DIGITS.indexOf(digit)), 0n)
}

function toDigits(value: bigint): string {
  let rest = value
  let id = ''
  for (let place = 0; place < LENGTH; place += 1) {
    id = DIGITS.charAt(Number(rest % 32n)) + id
    rest /= 32n
  }
  return id
}
