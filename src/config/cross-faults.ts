import { z } from 'zod'
import type { Fault } from '../protocol/faults.ts'
import { SECTIONS } from './schema.ts'

/** Rules between two values; looked at only where both are valid by themselves. */
export function crossFaults(tree: Record<string, unknown>): Fault[] {
  const faults: Fault[] = []
  const queue = z.object({ lease: SECTIONS.queue.shape.lease, heartbeat: SECTIONS.queue.shape.heartbeat })
  const leases = queue.safeParse(tree['queue'] ?? {})
  if (leases.success && leases.data.heartbeat * 2 > leases.data.lease) {
    faults.push({
      path: ['queue', 'heartbeat'],
      sentence: 'queue.heartbeat must be at most half of queue.lease, or one late heartbeat loses the lease.',
    })
  }
  const { host, behind_tls, names } = SECTIONS.http.shape
  const http = z.object({ host, behind_tls, names }).safeParse(tree['http'] ?? {})
  if (http.success && !isLoopback(http.data.host) && !(http.data.behind_tls && http.data.names.length > 0)) {
    faults.push({
      path: ['http', 'host'],
      sentence:
        'http.host must be 127.0.0.1, ::1 or localhost. Other machines reach ccm through a proxy with TLS only: set http.behind_tls = true and http.names to the names it answers to.',
    })
  }
  const auth = SECTIONS.auth.safeParse(tree['auth'] ?? {})
  if (auth.success && auth.data.hs256_secret !== '' && auth.data.supabase_url === '') {
    faults.push({
      path: ['auth', 'hs256_secret'],
      sentence: 'auth.hs256_secret needs auth.supabase_url, which is the issuer of the tokens.',
    })
  }
  const supabase = SECTIONS.supabase.safeParse(tree['supabase'] ?? {})
  if (supabase.success && (supabase.data.url === '') !== (supabase.data.secret_key === '')) {
    const [there, missing] = supabase.data.url === '' ? ['secret_key', 'url'] : ['url', 'secret_key']
    faults.push({
      path: ['supabase', missing],
      sentence: `supabase.${there} needs supabase.${missing}. \`ccm supabase init\` asks for both.`,
    })
  }
  const both = z.object({ done: SECTIONS.markers.shape.done, error: SECTIONS.markers.shape.error })
  const markers = both.safeParse(tree['markers'] ?? {})
  if (markers.success && markers.data.done === markers.data.error) {
    faults.push({ path: ['markers', 'error'], sentence: 'markers.error must differ from markers.done.' })
  }
  return faults
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '127.0.0.1'
}
