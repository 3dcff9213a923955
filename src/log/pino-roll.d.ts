declare module 'pino-roll' {
  import type { SonicBoom, SonicBoomOpts } from 'sonic-boom'

  /** Opens the newest numbered file; rolls to the next number above `size` MB. */
  export default function open(
    options: Omit<SonicBoomOpts, 'dest'> & {
      file: string
      size?: number
      limit?: { count: number; removeOtherLogFiles?: boolean }
    },
  ): Promise<SonicBoom>
}
