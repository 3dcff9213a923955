import type { RealtimeChannel, SupabaseClient } from '@supabase/supabase-js'
import type { Logger } from 'pino'

/** What the subscription has seen and done since it began. */
export type SubscriptionCounts = {
  /** Changes of tasks that Realtime told of. */
  events: number
  /** How often it became ready, and how many channels and clients that took. */
  readies: number
  channels: number
  clients: number
}

/** A listener at the table `tasks`. What it tells is a nudge: it may miss changes, and tell of one twice. */
export type Subscription = {
  state: () => 'connecting' | 'ready' | 'broken'
  counts: () => SubscriptionCounts
  /**
   * A row was changed at `since` (of `clock`) or later: unless a change of then is told soon, or was told already, the
   * channel tells nothing and is replaced.
   */
  expectChange: (since: number) => void
  close: () => Promise<void>
}

/** A row as far as the subscription reads it. */
export type TaskNotice = { id: string; status: string; cancelRequested: boolean; isNew: boolean }

type HeartbeatStatus = 'sent' | 'ok' | 'error' | 'timeout' | 'disconnected' | (string & {})

export type SubscriptionOptions = {
  /** A new client with a connection of its own; each of its heartbeats is told. */
  connect: (onHeartbeat: (status: HeartbeatStatus) => void) => SupabaseClient
  system: string
  /** Changes flow from now on; what came before, the caller has to look for. */
  onReady: () => void
  onTask: (notice: TaskNotice) => void
  /** Why it was lost or did not come about, as words for a person. */
  onTrouble?: (why: string) => void
  /** Milliseconds; only differences count. */
  clock: () => number
  random: () => number
  logger: Logger
  limits?: Partial<typeof LIMITS>
  /** Watches the loop that looks after the connection: `work` resolves at its next look. */
  pulse?: (loop: 'subscription', work: () => Promise<unknown>) => { close: () => void }
}

/** All in milliseconds but the count. Public connections are cut at 24 h; a heartbeat goes out every 25 s. */
const LIMITS = {
  tickMs: 1000,
  readyMs: 25_000,
  silenceMs: 60_000,
  /** A change takes 4 ms on a local stack, and seconds where Supabase is busy. */
  echoMs: 20_000,
  recycleMs: 20 * 3_600_000,
  backoffMs: 1000,
  longestBackoffMs: 30_000,
  /** After so many channels in a row that came to nothing the client is replaced too. */
  channelsPerClient: 3,
}

type Live = {
  client: SupabaseClient
  channel: RealtimeChannel
  since: number
  isJoined: boolean
  /** The server has said that changes flow: only then is a joined channel more than a zombie. */
  isStreaming: boolean
  /** Since when a change is to be told of, and when the last one was. */
  expectedAt: number | null
  changeAt: number
}

/**
 * Keeps one channel with one binding open, whatever becomes of it: one that errs, closes, goes silent or is not ready in
 * time is replaced, after some of these the client as well, and a client that works is replaced before it is cut off.
 */
export function createSubscription(options: SubscriptionOptions): Subscription {
  const { system, clock, random, logger } = options
  const limits = { ...LIMITS, ...options.limits }
  const counts: SubscriptionCounts = { events: 0, readies: 0, channels: 0, clients: 0 }
  let client: SupabaseClient | null = null
  let clientSince = 0
  let recycleAt = 0
  let live: Live | null = null
  let heardAt = 0
  let failures = 0
  let isMute = false
  let nextAt = 0
  let closed = false

  function open(): void {
    const now = clock()
    if (client === null) {
      const mine = options.connect((status) => {
        // 'sent' is our own voice.
        if (mine === client && status === 'ok') heardAt = clock()
        if (mine === client && (status === 'timeout' || status === 'error')) fail(`heartbeat: ${status}`)
      })
      client = mine
      clientSince = now
      recycleAt = now + limits.recycleMs * (0.9 + 0.1 * random())
      counts.clients += 1
    }
    counts.channels += 1
    const channel = client.channel(`ccm:${system}:${counts.channels}`, {
      config: { postgres_changes_options: { wait: true } },
    })
    const mine: Live = {
      client,
      channel,
      since: now,
      isJoined: false,
      isStreaming: false,
      expectedAt: null,
      changeAt: -1,
    }
    live = mine
    heardAt = now
    channel
      .on(
        'postgres_changes',
        { event: '*', schema: 'public', table: 'tasks', filter: `system_id=eq.${system}` },
        ({ eventType, new: row }) => {
          if (live !== mine) return
          heardAt = clock()
          mine.expectedAt = null
          mine.changeAt = heardAt
          isMute = false
          const notice = readNotice(row, eventType === 'INSERT')
          if (notice === null) return
          counts.events += 1
          options.onTask(notice)
        },
      )
      .on('system', {}, (message: unknown) => {
        if (live !== mine || !isOfChanges(message)) return
        heardAt = clock()
        if (message.status !== 'ok') return fail(`system: ${message.message}`)
        mine.isStreaming = true
        readyWhenBoth(mine)
      })
      .subscribe((state, error) => {
        if (live !== mine) return
        const status: string = state
        if (status !== 'SUBSCRIBED')
          return fail(`${status}${error === undefined ? '' : `: ${error.message}`}`)
        heardAt = clock()
        mine.isJoined = true
        readyWhenBoth(mine)
      })
  }

  function readyWhenBoth({ isJoined, isStreaming }: Live): void {
    if (!isJoined || !isStreaming) return
    if (failures > 0) logger.info('Realtime tells of new tasks again')
    // One that was mute may be again: it is not asked for at full speed.
    if (!isMute) failures = 0
    counts.readies += 1
    options.onReady()
  }

  function fail(why: string): void {
    options.onTrouble?.(why)
    failures += 1
    const isWorn = failures % limits.channelsPerClient === 0
    const waitMs = Math.min(limits.backoffMs * 2 ** (failures - 1), limits.longestBackoffMs)
    nextAt = clock() + waitMs * (0.5 + random())
    const level = failures === 1 ? 'warn' : 'debug'
    logger[level]({ code: 'REALTIME' }, `Realtime is lost (${why}); tasks are looked for until it is back`)
    drop(isWorn)
  }

  /** Lets go of the channel, and of the client; what they still say is heard by nobody. */
  function drop(withClient: boolean): void {
    const old = live
    live = null
    const oldClient = client
    if (withClient) client = null
    if (old !== null) old.client.removeChannel(old.channel).catch(() => undefined)
    if (withClient && oldClient !== null) disconnect(oldClient)
  }

  function tick(): void {
    lookAfter()
    looked()
  }

  function lookAfter(): void {
    if (closed) return
    const now = clock()
    if (live === null) {
      if (now >= nextAt) open()
    } else if (!(live.isJoined && live.isStreaming) && now - live.since > limits.readyMs) {
      fail('it was not ready in time')
    } else if (now - heardAt > limits.silenceMs) {
      fail('it went silent')
    } else if (live.expectedAt !== null && now - live.expectedAt > limits.echoMs) {
      isMute = true
      fail('it told nothing of a change')
    } else if (now >= recycleAt) {
      logger.debug(`the Realtime connection is renewed after ${Math.round((now - clientSince) / 60_000)} min`)
      drop(true)
      open()
    }
  }

  let looked: () => void = () => undefined
  open()
  const timer = setInterval(tick, limits.tickMs)
  const pulse = options.pulse?.('subscription', () => new Promise<void>((resolve) => (looked = resolve)))
  return {
    state: () => {
      if (live?.isJoined === true && live.isStreaming) return 'ready'
      return failures === 0 ? 'connecting' : 'broken'
    },
    counts: () => ({ ...counts }),
    expectChange(since) {
      if (live?.isJoined !== true || !live.isStreaming || live.since > since || live.changeAt >= since) return
      live.expectedAt ??= clock()
    },
    async close() {
      closed = true
      pulse?.close()
      clearInterval(timer)
      drop(true)
    },
  }
}

/** Its sockets close by themselves, or never: nobody waits for them. */
function disconnect(client: SupabaseClient): void {
  // Without a channel the client would try again for ever where it is not told.
  void client.removeAllChannels().catch(() => undefined)
  client.realtime.disconnect().catch(() => undefined)
}

function isOfChanges(message: unknown): message is { status: string; message: string } {
  return (
    typeof message === 'object' &&
    message !== null &&
    'status' in message &&
    // A token that has expired is told without it.
    (!('extension' in message) || message.extension === 'postgres_changes' || message.status !== 'ok')
  )
}

function readNotice(row: Record<string, unknown>, isNew: boolean): TaskNotice | null {
  const { id, status, cancel_requested: cancel } = row
  if (typeof id !== 'string' || typeof status !== 'string') return null
  return { id, status, cancelRequested: cancel === true, isNew }
}
