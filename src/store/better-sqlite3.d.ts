// The part of better-sqlite3 13 that ccm uses; the package brings no types of its own.
declare module 'better-sqlite3' {
  class Database {
    constructor(file: string, options?: { timeout?: number; readonly?: boolean })
    readonly open: boolean
    readonly inTransaction: boolean
    prepare(sql: string): Database.Statement
    exec(sql: string): this
    /** The rows of the pragma's answer. */
    pragma(source: string): unknown
    pragma(source: string, options: { simple: true }): unknown
    /** Copies the database into a file; `progress` answers how many pages the next step copies. */
    backup(
      file: string,
      options?: { progress: (state: { totalPages: number; remainingPages: number }) => number },
    ): Promise<{ totalPages: number; remainingPages: number }>
    transaction<A extends unknown[], T>(work: (...args: A) => T): { immediate: (...args: A) => T }
    close(): this
  }

  namespace Database {
    type Value = string | number | null
    type Statement = {
      run(params?: Record<string, Value> | readonly Value[]): {
        changes: number
        lastInsertRowid: number | bigint
      }
      get(params?: Record<string, Value>): unknown
      all(params?: Record<string, Value>): unknown[]
    }
  }

  export = Database
}
