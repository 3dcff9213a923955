import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One tool call of a scripted reply. */
export type ScriptedTool = { name: string; input: Record<string, unknown> }

/** What the scripted model answers to one request. Times are milliseconds. */
export type ScriptedReply =
  | {
      kind: 'message'
      text?: string
      thinking?: string
      tools?: ScriptedTool[]
      /** Before the first byte. */
      delayMs?: number
      /** Between two words of the text. */
      wordMs?: number
    }
  | { kind: 'status'; status: number; type: string; message: string; headers?: Record<string, string> }
  /** Accepts the request and closes the connection without an answer. */
  | { kind: 'drop' }
  /** Accepts the request and never answers. */
  | { kind: 'hang' }

/** A request to `POST /v1/messages` as a script sees it. */
export type ModelRequest = {
  at: number
  model: string
  /** False for Claude Code's own side requests (titles, quota probes): they carry no tools. */
  main: boolean
  /** All text blocks of the newest user message, joined without separator. */
  userText: string
  /** All texts of every user message, oldest first: each text block on its own. */
  userBlocks: string[]
  /** Number of assistant messages so far. */
  turn: number
  /** Contents of the tool results in the newest user message. */
  toolResults: { id: string; text: string; isError: boolean }[]
  system: string
  headers: Record<string, string>
}

/** Decides the answer to one request. Called once per main request, in order of arrival. */
export type ModelScript = (request: ModelRequest) => ScriptedReply | Promise<ScriptedReply>

/** A running scripted Messages API on loopback. */
export type ScriptedModel = {
  url: string
  requests: ModelRequest[]
  close: () => Promise<void>
}

/**
 * Serves the part of the Messages API that Claude Code uses, on 127.0.0.1, with answers from
 * `script` instead of a model.
 *
 * Deviations from the real API: token counts are invented (1 per 4 characters of output, a
 * constant input), nothing is validated or authenticated, and `count_tokens` always says 1000.
 */
export async function serveScriptedModel(script: ModelScript): Promise<ScriptedModel> {
  const requests: ModelRequest[] = []
  let serial = 0
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request)
    const path = (request.url ?? '').split('?')[0]
    if (path === '/v1/messages/count_tokens') return sendJson(response, 200, { input_tokens: 1000 })
    if (request.method !== 'POST' || path !== '/v1/messages') return sendJson(response, 404, {})
    const raw = JSON.parse(body) as RawRequest
    const parsed = parseRequest(raw, request)
    if (!parsed.main)
      return sendMessage(response, raw, { kind: 'message', text: 'ok' }, `msg_side_${++serial}`)
    requests.push(parsed)
    const reply = await script(parsed)
    if (reply.kind === 'hang') return
    if (reply.kind === 'drop') return void request.socket.destroy()
    if (reply.kind === 'status') {
      const error = { type: 'error', error: { type: reply.type, message: reply.message } }
      return sendJson(response, reply.status, error, reply.headers)
    }
    if (reply.delayMs) await sleep(reply.delayMs)
    await sendMessage(response, raw, reply, `msg_scripted_${++serial}`)
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

type RawBlock = {
  type: string
  text?: string
  tool_use_id?: string
  content?: string | RawBlock[]
  is_error?: boolean
}
type RawRequest = {
  model: string
  stream?: boolean
  tools?: unknown[]
  system?: string | RawBlock[]
  messages: { role: string; content: string | RawBlock[] }[]
}

function parseRequest(raw: RawRequest, request: IncomingMessage): ModelRequest {
  const users = raw.messages.filter((message) => message.role === 'user')
  const newest = blocksOf(users.at(-1)?.content ?? '')
  return {
    at: Date.now(),
    model: raw.model,
    main: (raw.tools ?? []).length > 0,
    userText: textOf(newest),
    userBlocks: users.flatMap((message) => blocksOf(message.content).flatMap((block) => block.text ?? [])),
    turn: raw.messages.filter((message) => message.role === 'assistant').length,
    toolResults: newest
      .filter((block) => block.type === 'tool_result')
      .map((block) => ({
        id: block.tool_use_id ?? '',
        text: textOf(blocksOf(block.content ?? '')),
        isError: block.is_error === true,
      })),
    system: textOf(blocksOf(raw.system ?? '')),
    headers: Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    ),
  }
}

function blocksOf(content: string | RawBlock[]): RawBlock[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content
}

function textOf(blocks: RawBlock[]): string {
  return blocks.map((block) => block.text ?? '').join('')
}

async function sendMessage(
  response: ServerResponse,
  raw: RawRequest,
  reply: Extract<ScriptedReply, { kind: 'message' }>,
  id: string,
): Promise<void> {
  const text = reply.text ?? ''
  const tools = reply.tools ?? []
  const outputTokens = Math.ceil((text.length + JSON.stringify(tools).length) / 4)
  const usage = {
    input_tokens: 1200,
    cache_creation_input_tokens: 100,
    cache_read_input_tokens: 2000,
    output_tokens: outputTokens,
  }
  const stopReason = tools.length > 0 ? 'tool_use' : 'end_turn'
  const blocks = [
    ...(reply.thinking ? [{ type: 'thinking', thinking: reply.thinking, signature: 'scripted' }] : []),
    ...(text ? [{ type: 'text', text }] : []),
    ...tools.map((tool, index) => ({
      type: 'tool_use',
      id: `toolu_${id}_${index}`,
      name: tool.name,
      input: tool.input,
    })),
  ]
  const message = { id, type: 'message', role: 'assistant', model: raw.model, stop_sequence: null }
  if (!raw.stream)
    return sendJson(response, 200, { ...message, content: blocks, stop_reason: stopReason, usage })

  response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': `req_${id}` })
  const send = (type: string, data: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`)
  send('message_start', {
    message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
  })
  for (const [index, block] of blocks.entries()) {
    const { start, deltas } = toDeltas(block, reply.wordMs !== undefined)
    send('content_block_start', { index, content_block: start })
    for (const delta of deltas) {
      if (reply.wordMs) await sleep(reply.wordMs)
      if (response.destroyed) return
      send('content_block_delta', { index, delta })
    }
    send('content_block_stop', { index })
  }
  send('message_delta', { delta: { stop_reason: stopReason, stop_sequence: null }, usage })
  send('message_stop', {})
  response.end()
}

type Block = { type: string; text?: string; thinking?: string; signature?: string; input?: unknown }

function toDeltas(block: Block, slowly: boolean): { start: object; deltas: object[] } {
  if (block.type === 'text') {
    const words = slowly ? (block.text?.match(/\S*\s*/g) ?? []).filter(Boolean) : [block.text]
    return { start: { type: 'text', text: '' }, deltas: words.map((text) => ({ type: 'text_delta', text })) }
  }
  if (block.type === 'thinking') {
    return {
      start: { type: 'thinking', thinking: '', signature: '' },
      deltas: [
        { type: 'thinking_delta', thinking: block.thinking },
        { type: 'signature_delta', signature: block.signature },
      ],
    }
  }
  const json = JSON.stringify(block.input)
  return { start: { ...block, input: {} }, deltas: [{ type: 'input_json_delta', partial_json: json }] }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
