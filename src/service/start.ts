import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { createServiceManager, isInstalledFor } from './manage.ts'

/** Program and arguments that start this home's daemon through systemd; null when it is no service there. */
export function serviceStart(home: string, env: Record<string, string | undefined>): string[] | null {
  if (!existsSync('/run/systemd/system')) return null
  const uid = process.getuid?.() ?? 0
  for (const manager of ['user', 'system'] as const) {
    const on = createServiceManager(manager, env, env['HOME'] ?? homedir(), uid)
    if (!isInstalledFor(on, home)) continue
    return [
      'systemctl',
      ...(manager === 'user' ? ['--user'] : []),
      '--no-ask-password',
      'start',
      'ccm.service',
    ]
  }
  return null
}
