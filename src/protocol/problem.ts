import { z } from 'zod'

/** Every error answer (RFC 9457). `code` is stable; `detail` is a sentence for a person. */
export const ProblemJson = z
  .object({
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    remedy: z.string().exactOptional(),
    /** The first field that is wrong, as a path. */
    field: z.string().exactOptional(),
    /** When the same may succeed; also in the header Retry-After. */
    retry_after_s: z.number().exactOptional(),
    /** Under this id the daemon's log tells more. */
    request_id: z.string(),
  })
  .meta({ id: 'Problem' })
export type ProblemJson = z.output<typeof ProblemJson>
