import { createInterface } from 'node:readline'

/**
 * A server of tools for Claude Code, on stdin and stdout (MCP), with one tool, `ask`, that asks the person a question
 * and answers what was answered. Deviation from a real one: it takes one call at a time, and checks nothing.
 */
type Message = {
  id?: number | string
  method?: string
  params?: { protocolVersion?: string }
  result?: object
}

const send = (message: object) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
const TOOLS = [{ name: 'ask', inputSchema: { type: 'object' } }]
const QUESTION = {
  message: 'Is it so?',
  requestedSchema: { type: 'object', properties: { so: { type: 'boolean' } } },
}
let call: Message['id']

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params, result } = JSON.parse(line) as Message
  if (method === 'initialize') {
    const serverInfo = { name: 'asking', version: '1' }
    send({
      id,
      result: { protocolVersion: params?.protocolVersion, capabilities: { tools: {} }, serverInfo },
    })
  } else if (method === 'tools/list') {
    send({ id, result: { tools: TOOLS } })
  } else if (method === 'tools/call') {
    call = id
    send({ id: 'question', method: 'elicitation/create', params: QUESTION })
  } else if (id === 'question') {
    send({ id: call, result: { content: [{ type: 'text', text: JSON.stringify(result) }] } })
  } else if (id !== undefined) {
    send({ id, result: {} })
  }
})
