/**
 * Loaded into a daemon before its own program (NODE_OPTIONS), from nothing but a test: a fault that one word brings out
 * once the file is there, and that ends the process in one of the ways in which ours might. The word is only reacted
 * to where the way says: while events are read; when they are stored and their files are about to go, of which the word
 * is in the path; while a prompt is written; while a screen is read.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const {
  CCM_TEST_FAULT: fault = '',
  CCM_TEST_FAULT_WORD: word = '',
  CCM_TEST_FAULT_FILE: file = '',
} = process.env
const [where = '', how = ''] = fault.split(' ')

function strike(): void {
  if (how === 'crash') process.abort()
  if (how === 'kill') process.kill(process.pid, 'SIGKILL')
  const held: unknown[] = []
  for (;;) if (how === 'memory') held.push(Array.from({ length: 10_000 }, (_, index) => ({ index })))
}

if (word !== '' && process.argv.includes('daemon')) {
  const isBad = (text: unknown) => typeof text === 'string' && text.includes(word) && fs.existsSync(file)
  const { parse } = JSON
  const { unlink, writeFileSync } = fs
  const split: unknown = Reflect.get(String.prototype, 'split')
  if (where === 'events')
    JSON.parse = (text, ...more) => {
      if (isBad(text)) strike()
      return parse(text, ...more) as unknown
    }
  if (where === 'stored')
    fs.unlink = Object.assign((path: fs.PathLike, done: fs.NoParamCallback) => {
      if (isBad(path)) strike()
      unlink(path, done)
    }, unlink)
  if (where === 'launch')
    fs.writeFileSync = (path, data, ...more) => {
      if (isBad(data) && String(path).endsWith('prompt.txt')) strike()
      return writeFileSync(path, data, ...more)
    }
  if (where === 'screen')
    // oxlint-disable-next-line no-extend-native -- this is the fault
    String.prototype.split = function (this: string, ...args: never[]): string[] {
      if (String(args[0]) === '\n' && isBad(this)) strike()
      return Reflect.apply(split as () => string[], this, args)
    }
  syncBuiltinESMExports()
}
