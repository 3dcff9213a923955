/** Says what is wrong with a key by its look alone, or null. */
export function keyFault(secretKey: string): string | null {
  if (secretKey.startsWith('sb_secret_')) return null
  if (secretKey.startsWith('sb_publishable_')) return 'This is the publishable key, which everybody may have.'
  const role = roleOf(secretKey)
  if (role === 'service_role') return null
  if (role === null) return 'This is no key of Supabase.'
  return `This is the key of the role ${role}, which may not work the queue.`
}

/** The role a legacy key is for; null where it is no such key. Nothing is verified: this is for a message. */
function roleOf(key: string): string | null {
  try {
    const claims = JSON.parse(Buffer.from(key.split('.')[1] ?? '', 'base64url').toString()) as unknown
    if (typeof claims !== 'object' || claims === null || !('role' in claims)) return null
    return typeof claims.role === 'string' ? claims.role : null
  } catch {
    return null
  }
}
