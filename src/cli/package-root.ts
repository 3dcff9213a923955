import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Name and version from package.json, with the absolute folder it stands in. */
export type PackageRoot = { folder: string; version: string }

/**
 * The folder of this package, which holds `bin`, `hooks` and `migrations`, whether the caller runs from
 * `src` or from the bundle in `dist`. Pass `import.meta.url`. Throws when the installation is incomplete.
 */
export function findPackageRoot(moduleUrl: string): PackageRoot {
  for (let folder = dirname(fileURLToPath(moduleUrl)); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json')
    if (existsSync(file)) {
      const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string }
      if (name === 'ccm-orchestrator') return { folder, version: version ?? '0.0.0' }
    }
    if (dirname(folder) === folder) {
      throw new Error(`The package ccm-orchestrator is incomplete: no package.json above ${moduleUrl}.`)
    }
  }
}
