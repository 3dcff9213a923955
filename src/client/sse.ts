/** One message of a server-sent event stream; null where it did not say. */
export type SseMessage = { id: string | null; event: string | null; data: string | null }

/**
 * Makes a reader that takes a stream's text in any pieces and gives back the messages that became complete.
 * Follows the WHATWG rules for lines, comments and fields; `retry` is ignored.
 */
export function createSseReader(): (text: string) => SseMessage[] {
  let rest = ''
  let message: SseMessage = empty()
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() ?? ''
    const complete: SseMessage[] = []
    for (const line of lines) {
      if (line === '') {
        if (message.id !== null || message.data !== null) complete.push(message)
        message = empty()
        continue
      }
      const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
      if (field === 'id') message.id = value
      else if (field === 'event') message.event = value
      else if (field === 'data') message.data = message.data === null ? value : `${message.data}\n${value}`
    }
    return complete
  }
}

function empty(): SseMessage {
  return { id: null, event: null, data: null }
}
