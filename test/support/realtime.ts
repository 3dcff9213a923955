import type { IncomingMessage, Server } from 'node:http'
import { WebSocketServer, type WebSocket } from 'ws'
import { Pool } from 'pg'
import { ignoreBreaks } from './supabase.ts'
import { followChanges, type Change } from './replication.ts'

/** How the gateway behaves; tests change it while it runs. */
export type RealtimeMood = {
  /** What becomes of a join. */
  join: 'ok' | 'refuse' | 'never'
  /**
   * What the server says of the changes after a good join; `zombie`: nothing, and no change ever comes; `mute`: that they
   * flow, and none comes.
   */
  system: 'ok' | 'error' | 'zombie' | 'mute'
  heartbeat: 'ok' | 'silent'
  /** Before changes flow, from the join on. */
  delayMs: number
}

/** A stand-in for Supabase Realtime: Phoenix channels, vsn 1.0.0 and 2.0.0, fed by logical replication. */
export type TestRealtime = AsyncDisposable & {
  mood: RealtimeMood
  /** Every frame a client sent, parsed. */
  frames: Frame[]
  /** Open connections now. */
  connections: () => number
  /** Joined channels with changes flowing. */
  streaming: () => number
  /** Cuts every connection, as a server that ends does; `code` as the close frame says it. */
  cut: (code?: number) => void
  /** Tells every channel that its subscription broke; the channel stays open. */
  breakSubscriptions: (message: string) => void
  /** Ends every channel as for a token that has expired. */
  expireTokens: () => void
}

export type Frame = {
  joinRef: string | null
  ref: string | null
  topic: string
  event: string
  payload: Record<string, unknown>
}

type Binding = { event: string; schema: string; table?: string; filter?: string }
type Channel = {
  topic: string
  joinRef: string | null
  isStreaming: boolean
  bindings: (Binding & { id: number })[]
}
type Connection = { socket: WebSocket; vsn: string; channels: Map<string, Channel> }

/** Serves `/realtime/v1/websocket` on `server` for keys that `accepts` takes. */
export async function serveRealtime(
  server: Server,
  databaseUrl: string,
  accepts: (key: string | null) => boolean,
): Promise<TestRealtime> {
  const mood: RealtimeMood = { join: 'ok', system: 'ok', heartbeat: 'ok', delayMs: 0 }
  const frames: Frame[] = []
  const connections = new Set<Connection>()
  const sockets = new WebSocketServer({ noServer: true })
  const database = new Pool({ connectionString: databaseUrl, max: 1 })
  ignoreBreaks(database)
  let ids = 0

  const onUpgrade = (request: IncomingMessage, socket: import('node:stream').Duplex, head: Buffer): void => {
    // From here on the server looks after it no more: a client that hangs up would end the test run.
    socket.on('error', () => undefined)
    const url = new URL(request.url ?? '/', 'http://gateway')
    if (url.pathname !== '/realtime/v1/websocket' || !accepts(url.searchParams.get('apikey'))) {
      socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (open) => {
      begin({ socket: open, vsn: url.searchParams.get('vsn') ?? '1.0.0', channels: new Map() })
    })
  }
  server.on('upgrade', onUpgrade)

  function begin(connection: Connection): void {
    connections.add(connection)
    connection.socket.on('close', () => connections.delete(connection))
    connection.socket.on('error', () => undefined)
    connection.socket.on('message', (data: Buffer) => {
      const frame = parse(connection.vsn, data.toString('utf8'))
      frames.push(frame)
      if (frame.topic === 'phoenix' && frame.event === 'heartbeat') {
        if (mood.heartbeat === 'ok') reply(connection, frame, 'ok', {})
      } else if (frame.event === 'phx_join')
        join(connection, frame).catch(() => connection.socket.terminate())
      else if (frame.event === 'phx_leave') {
        const channel = connection.channels.get(frame.topic)
        connection.channels.delete(frame.topic)
        reply(connection, frame, 'ok', {})
        if (channel !== undefined) send(connection, { ...frame, event: 'phx_close', payload: {} })
      }
    })
  }

  async function join(connection: Connection, frame: Frame): Promise<void> {
    if (mood.join === 'never') return
    const { rows } = await database.query<{ name: string }>(
      `SELECT tablename AS name FROM pg_publication_tables WHERE pubname = 'supabase_realtime'`,
    )
    const published = rows.map(({ name }) => name)
    if (mood.join === 'refuse')
      return reply(connection, frame, 'error', { reason: 'Unauthorized: you may not read this channel' })
    const config = frame.payload['config'] as
      { postgres_changes?: Binding[]; postgres_changes_options?: { wait?: boolean } } | undefined
    const bindings = (config?.postgres_changes ?? []).map((binding) => ({ ...binding, id: ++ids }))
    const missing = bindings.find(({ table }) => table !== undefined && !published.includes(table))
    if (missing !== undefined) {
      const reason = `RealtimeDisabledForConfiguration: Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: [schema: public, table: ${missing.table}]`
      return reply(connection, frame, 'error', { reason })
    }
    const channel: Channel = { topic: frame.topic, joinRef: frame.ref, isStreaming: false, bindings }
    connection.channels.set(frame.topic, channel)
    const answer = () => reply(connection, frame, 'ok', { postgres_changes: bindings })
    const stream = () => {
      if (mood.system === 'zombie' || connection.channels.get(frame.topic) !== channel) return
      channel.isStreaming = mood.system === 'ok'
      const isGood = mood.system !== 'error'
      const message = isGood ? 'Subscribed to PostgreSQL' : 'Unable to subscribe to changes'
      system(connection, channel, isGood ? 'ok' : 'error', message)
    }
    // With `wait` the reply comes once changes flow; without it at once.
    if (config?.postgres_changes_options?.wait === true && mood.system !== 'zombie')
      setTimeout(() => {
        stream()
        answer()
      }, mood.delayMs)
    else {
      answer()
      setTimeout(stream, mood.delayMs)
    }
  }

  function system(
    connection: Connection,
    { topic, joinRef }: Channel,
    status: string,
    message: string,
  ): void {
    const payload = {
      channel: topic.replace(/^realtime:/, ''),
      extension: 'postgres_changes',
      message,
      status,
    }
    send(connection, { joinRef, ref: null, topic, event: 'system', payload })
  }

  function publish(change: Change): void {
    for (const connection of connections) {
      for (const { topic, joinRef, isStreaming, bindings } of connection.channels.values()) {
        const bound = isStreaming ? bindings.filter((binding) => matches(binding, change)) : []
        if (bound.length === 0) continue
        const { type, schema, table, columns, record, oldRecord, commitTimestamp } = change
        const data = {
          type,
          schema,
          table,
          columns,
          commit_timestamp: commitTimestamp,
          errors: null,
          ...(type === 'DELETE' ? {} : { record }),
          ...(type === 'INSERT' ? {} : { old_record: oldRecord }),
        }
        const payload = { ids: bound.map(({ id }) => id), data }
        send(connection, { joinRef, ref: null, topic, event: 'postgres_changes', payload })
      }
    }
  }

  const changes = await followChanges(databaseUrl, publish)
  const everyChannel = (work: (connection: Connection, channel: Channel) => void) => {
    for (const connection of connections)
      for (const channel of connection.channels.values()) work(connection, channel)
  }
  return {
    mood,
    frames,
    connections: () => connections.size,
    streaming: () => {
      let count = 0
      everyChannel((_, { isStreaming }) => void (count += isStreaming ? 1 : 0))
      return count
    },
    cut: (code) => {
      for (const { socket } of connections) {
        if (code === undefined) socket.terminate()
        else socket.close(code)
      }
    },
    breakSubscriptions: (message) =>
      everyChannel((connection, channel) => {
        channel.isStreaming = false
        system(connection, channel, 'error', message)
      }),
    expireTokens: () =>
      everyChannel((connection, channel) => {
        const { topic, joinRef } = channel
        const payload = {
          message: 'Token has expired 1 seconds ago',
          status: 'error',
          extension: 'system',
          channel: topic,
        }
        send(connection, { joinRef, ref: null, topic, event: 'system', payload })
        send(connection, { joinRef, ref: null, topic, event: 'phx_close', payload: {} })
        connection.channels.delete(topic)
      }),
    [Symbol.asyncDispose]: async () => {
      server.off('upgrade', onUpgrade)
      for (const { socket } of connections) socket.terminate()
      sockets.close()
      await changes[Symbol.asyncDispose]()
      await database.end()
    },
  }
}

function matches({ event, schema, table, filter }: Binding, change: Change): boolean {
  if (event !== '*' && event !== change.type) return false
  if (schema !== change.schema || (table !== undefined && table !== change.table)) return false
  // Supabase cannot filter deletions.
  if (filter === undefined || change.type === 'DELETE') return true
  const [, column = '', value] = /^(\w+)=eq\.(.*)$/.exec(filter) ?? []
  return change.record[column] === value
}

function reply(
  connection: Connection,
  { ref, joinRef, topic }: Frame,
  status: string,
  response: object,
): void {
  send(connection, { joinRef, ref, topic, event: 'phx_reply', payload: { status, response } })
}

function parse(vsn: string, text: string): Frame {
  if (vsn === '2.0.0') {
    const [joinRef, ref, topic, event, payload] = JSON.parse(text) as [
      string | null,
      string | null,
      string,
      string,
      Record<string, unknown>,
    ]
    return { joinRef, ref, topic, event, payload }
  }
  const { join_ref: joinRef = null, ...frame } = JSON.parse(text) as Omit<Frame, 'joinRef'> & {
    join_ref?: string | null
  }
  return { joinRef, ...frame }
}

function send({ socket, vsn }: Connection, { joinRef, ref, topic, event, payload }: Frame): void {
  socket.send(
    JSON.stringify(
      vsn === '2.0.0'
        ? [joinRef, ref, topic, event, payload]
        : { join_ref: joinRef, ref, topic, event, payload },
    ),
  )
}
