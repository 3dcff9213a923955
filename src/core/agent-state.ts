/** What an agent is doing. The last four before `unknown` are ends of the process, not of the task. */
export const AGENT_STATES = [
  'spawning',
  'initializing',
  'working',
  'waiting',
  'limited',
  'complete',
  'error',
  'timeout',
  'exited',
  'lost',
  'unknown',
] as const
export type AgentState = (typeof AGENT_STATES)[number]

/** What a waiting agent waits for. */
export type WaitKind = 'permission' | 'question' | 'plan' | 'dialog'
