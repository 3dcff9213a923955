/** Wall-clock time in milliseconds since 1970. Injected, so that tests own the time. */
export type Clock = () => number
