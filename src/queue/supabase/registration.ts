import { CcmError } from '../../core/errors.ts'
import type { Call } from './client.ts'
import { parseCount } from './rows.ts'

/** This process as a worker of the queue. */
export type Registration = {
  /** Makes this process the worker, whoever was it; answers its epoch. */
  register: () => Promise<number>
  /** A call as the worker, which comes back by itself where the queue has forgotten it meanwhile. */
  asWorker: Call
}

export function createRegistration(options: {
  call: Call
  system: string
  worker: string
  /** What it tells of itself, as JSON. */
  info: () => string
}): Registration {
  const { call, system: p_system, worker: p_worker, info } = options
  let epoch: number | null = null
  let registering: Promise<number> | null = null
  /** A registration was sent and not answered: the newer epoch that a call is refused for may be this process's. */
  let unanswered = false
  /** The refusal that told of another process as the worker. It stands also once that one is forgotten, until `register`. */
  let replaced: CcmError | null = null

  const fence = () => {
    if (epoch === null)
      throw new CcmError('SUPABASE_UNREACHABLE', `Worker ${p_worker} has not registered with the queue yet.`)
    return { p_system, p_worker, p_epoch: epoch }
  }

  async function register(): Promise<number> {
    replaced = null
    unanswered = true
    epoch = await call('worker_register', { p_system, p_worker, p_info: info() }, parseCount)
    unanswered = false
    return epoch
  }

  return {
    register,

    asWorker: async (name, parameters, parse) => {
      const own = fence()
      try {
        return await call(name, { ...own, ...parameters }, parse)
      } catch (error) {
        if (!(error instanceof CcmError) || !/^(?:NOT_FOUND|STALE_LEASE)$/.test(error.code)) throw error
        // Else it has registered since.
        if (epoch === own.p_epoch) {
          if (error.code === 'STALE_LEASE' && !unanswered) replaced = error
          if (replaced !== null) throw replaced
          registering ??= register().finally(() => (registering = null))
        }
        await registering
        return call(name, { ...fence(), ...parameters }, parse)
      }
    },
  }
}
