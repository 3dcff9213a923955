import { Client, types as pgTypes } from 'pg'

/** One committed change of a published table; values as PostgreSQL makes JSON of them. */
export type Change = {
  type: 'INSERT' | 'UPDATE' | 'DELETE'
  schema: string
  table: string
  columns: { name: string; type: string }[]
  record: Record<string, unknown>
  oldRecord: Record<string, unknown>
  commitTimestamp: string
}

type Relation = { schema: string; table: string; columns: { name: string; oid: number }[] }

/** What pg's connection has beyond its types. */
type RawConnection = {
  on: (event: string, listener: (message: { chunk: Buffer }) => void) => void
  once: (event: string, listener: () => void) => void
  sendCopyFromChunk: (chunk: Buffer) => void
}

/** Follows the publication `supabase_realtime` by a temporary slot, from now on. Ends with its connection. */
export async function followChanges(
  url: string,
  onChange: (change: Change) => void,
): Promise<AsyncDisposable> {
  const plain = new Client({ connectionString: url })
  const stream = new Client({
    connectionString: url,
    // Not in pg's types: makes it a connection of replication.
    ...({ replication: 'database' } as object),
  })
  for (const client of [plain, stream]) {
    client.on('error', () => {})
    await client.connect()
  }
  const { rows } = await plain.query<{ oid: number; name: string }>(
    'SELECT oid::int AS oid, format_type(oid, NULL) AS name FROM pg_type',
  )
  const typeNames = new Map(rows.map(({ oid, name }) => [oid, name]))
  const slot = `ccm_test_${Math.random().toString(36).slice(2)}`
  await stream.query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`)
  const relations = new Map<number, Relation>()
  let commitTimestamp = ''
  let working: Promise<void> = Promise.resolve()

  /** JSON by PostgreSQL itself: JavaScript would cut times. */
  async function toRecord({ columns }: Relation, values: (string | null | undefined)[]) {
    const known = columns.flatMap((column, index) =>
      values[index] === undefined ? [] : [{ ...column, value: values[index] ?? null }],
    )
    const pairs = known.map(
      ({ name, oid }, index) => `'${name}', to_jsonb($${index + 1}::text::${typeNames.get(oid) ?? 'text'})`,
    )
    const { rows: made } = await plain.query<{ record: Record<string, unknown> }>({
      text: `SELECT jsonb_build_object(${pairs.join(', ')}) AS record`,
      values: known.map(({ value }) => value),
      types: pgTypes,
    })
    return made[0]?.record ?? {}
  }

  function read(message: Buffer): void {
    const kind = String.fromCharCode(message[0] ?? 0)
    const reader = createReader(message.subarray(1))
    if (kind === 'B') {
      reader.skip(8)
      commitTimestamp = new Date(Number(reader.int64() / 1000n) + Date.UTC(2000, 0, 1)).toISOString()
    } else if (kind === 'R') {
      const id = reader.int32()
      const [schema, table] = [reader.text(), reader.text()]
      reader.skip(1)
      const columns = Array.from({ length: reader.int16() }, () => {
        reader.skip(1)
        const column = { name: reader.text(), oid: reader.int32() }
        reader.skip(4)
        return column
      })
      relations.set(id, { schema, table, columns })
    } else if (kind === 'I' || kind === 'U' || kind === 'D') {
      const relation = relations.get(reader.int32())
      if (relation === undefined) return
      let part = reader.letter()
      let old: (string | null | undefined)[] = []
      if (part === 'K' || part === 'O') {
        old = reader.tuple()
        part = kind === 'D' ? '' : reader.letter()
      }
      const fresh = part === 'N' ? reader.tuple() : []
      const type = ({ I: 'INSERT', U: 'UPDATE', D: 'DELETE' } as const)[kind]
      const { schema, table } = relation
      const columns = relation.columns.map(({ name, oid }) => ({ name, type: typeNames.get(oid) ?? 'text' }))
      const at = commitTimestamp
      working = working
        .then(async () => {
          const record = fresh.length === 0 ? {} : await toRecord(relation, fresh)
          const oldRecord = old.length === 0 ? {} : await toRecord(relation, old)
          onChange({ type, schema, table, columns, record, oldRecord, commitTimestamp: at })
        })
        .catch(() => undefined)
    }
  }

  const { connection } = stream as unknown as { connection: RawConnection }
  const started = new Promise<void>((resolve) => connection.once('replicationStart', resolve))
  connection.on('copyData', ({ chunk }) => {
    if (chunk[0] === 0x77) read(chunk.subarray(25))
    // A keepalive; all that was read may be forgotten, for the slot is only ours.
    else if (chunk[0] === 0x6b && chunk[17] === 1)
      connection.sendCopyFromChunk(statusOf(chunk.readBigInt64BE(1)))
  })
  stream
    .query(
      `START_REPLICATION SLOT ${slot} LOGICAL 0/0 (proto_version '1', publication_names 'supabase_realtime')`,
    )
    .catch(() => undefined)
  await started
  return {
    [Symbol.asyncDispose]: async () => {
      // The stream has no end of its own: its socket is closed.
      ;(stream as unknown as { connection: { stream: { destroy: () => void } } }).connection.stream.destroy()
      await working
      await plain.end().catch(() => undefined)
    },
  }
}

function statusOf(position: bigint): Buffer {
  const status = Buffer.alloc(34)
  status.write('r')
  for (const offset of [1, 9, 17]) status.writeBigInt64BE(position, offset)
  return status
}

function createReader(buffer: Buffer) {
  let at = 0
  const take = (size: number) => buffer.subarray(at, (at += size))
  const int32 = () => take(4).readInt32BE()
  const int16 = () => take(2).readInt16BE()
  const letter = () => String.fromCharCode(take(1)[0] ?? 0)
  return {
    skip: (size: number) => void take(size),
    int16,
    int32,
    int64: () => take(8).readBigInt64BE(),
    letter,
    text(): string {
      const end = buffer.indexOf(0, at)
      const text = buffer.toString('utf8', at, end)
      at = end + 1
      return text
    },
    /** undefined: a large value that was not changed, and is not sent. */
    tuple: (): (string | null | undefined)[] =>
      Array.from({ length: int16() }, () => {
        const kind = letter()
        if (kind === 'n') return null
        return kind === 'u' ? undefined : take(int32()).toString('utf8')
      }),
  }
}
