import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'

/** A file system of its own at `folder`, or null with the reason printed where this user may not mount. */
export async function mountSmall(folder: string, size: string): Promise<AsyncDisposable | null> {
  mkdirSync(folder, { recursive: true })
  const mounted = await execa('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', folder], {
    reject: false,
  })
  if (mounted.exitCode !== 0) {
    console.warn(`SKIPPED: a small file system cannot be mounted here: ${mounted.stderr}`)
    return null
  }
  return {
    async [Symbol.asyncDispose]() {
      // Lazily: a tmux server that is about to end may still stand in it.
      await execa('umount', ['-l', folder])
    },
  }
}

/** A disk that can be made to fail. It thaws before it goes. */
export type Disk = AsyncDisposable & {
  /** Whoever writes waits from now on, and cannot even be killed. */
  freeze: () => void
  thaw: () => void
  /** Takes every block that is free. */
  fill: () => Promise<void>
  /** Gives back what was filled. */
  free: () => void
  /** Makes a folder on it read-only, for root too, until what it answers is called. */
  protect: (folder: string) => Promise<() => Promise<void>>
  /** What would be there after a power cut now, in a folder beside it: only what was brought to the disk. */
  cut: () => Promise<AsyncDisposable & { folder: string }>
}

/** A disk of its own at `folder`, of so many MB; null with the reason printed where this user may not mount one. */
export async function mountDisk(folder: string, megabytes = 16): Promise<Disk | null> {
  mkdirSync(folder, { recursive: true })
  const image = `${folder}.img`
  await execa('truncate', ['-s', `${megabytes}M`, image])
  const steps: [string, string[]][] = [
    // Nothing reserved for root, who would not see it full; a file for each 4 KB.
    ['mkfs.ext4', ['-q', '-m', '0', '-i', '4096', image]],
    ['mount', ['-o', 'loop,noatime', image, folder]],
    // Not every file system can be frozen by everybody.
    ['fsfreeze', ['-f', folder]],
    ['fsfreeze', ['-u', folder]],
  ]
  for (const [command, args] of steps) {
    const { exitCode, stderr } = await execa(command, args, { reject: false })
    if (exitCode === 0) continue
    console.warn(`SKIPPED: a disk that fails cannot be made here: ${stderr}`)
    await execa('umount', ['-l', folder], { reject: false })
    rmSync(image, { force: true })
    return null
  }
  const turn = (how: '-f' | '-u') => void execFileSync('fsfreeze', [how, folder], { stdio: 'ignore' })
  const fillers = ['filler', 'filler-rest'].map((name) => join(folder, name))
  let frozen = false
  return {
    freeze() {
      turn('-f')
      frozen = true
    },
    thaw() {
      turn('-u')
      frozen = false
    },
    async fill() {
      const [large = '', rest = ''] = fillers
      const { bavail, bsize } = statfsSync(folder)
      // At once; the rest block by block, because a reservation needs blocks of its own.
      if (!existsSync(large))
        await execa('fallocate', ['-l', String(Math.floor(bavail * bsize * 0.97)), large], { reject: false })
      await execa('dd', ['if=/dev/zero', `of=${rest}`, 'bs=4096', 'oflag=append', 'conv=notrunc'], {
        reject: false,
      })
    },
    free() {
      for (const file of fillers) rmSync(file, { force: true })
    },
    async protect(inside) {
      // Made read-only where nobody works: not even for a moment may somebody write through what is to be so.
      const spare = `${inside}.read-only`
      mkdirSync(spare)
      await execa('mount', ['--bind', inside, spare])
      await execa('mount', ['-o', 'remount,bind,ro', spare])
      await execa('mount', ['--bind', spare, inside])
      return async () => {
        await execa('umount', ['-l', inside])
        await execa('umount', ['-l', spare])
        rmdirSync(spare)
      }
    },
    async cut() {
      const left = `${folder}.cut`
      mkdirSync(left)
      await execa('cp', ['--sparse=always', image, `${left}.img`])
      await execa('mount', ['-o', 'loop', `${left}.img`, left])
      return {
        folder: left,
        async [Symbol.asyncDispose]() {
          await execa('umount', [left])
          rmdirSync(left)
          rmSync(`${left}.img`)
        },
      }
    },
    async [Symbol.asyncDispose]() {
      if (frozen) turn('-u')
      await execa('umount', ['-l', folder])
      rmSync(image, { force: true })
    },
  }
}
