import { isFinal, type TaskResult, type TaskStatus, type ToolBlock } from '../core/task/task.ts'
import { nameSome } from '../core/task/workspace.ts'
import type { PendingQuestion } from '../protocol/answer.ts'
import type { TaskJson } from '../protocol/task.ts'
import { showDuration } from './duration.ts'
import { oneLine, printable, visible } from './printable.ts'
import { cellsOf, cut, type Output, type Paint } from './terminal.ts'

/** Of the last column of a table, however narrow the terminal is. */
const LEAST_CELLS = 10

/** The status as a word in its colour. */
export function paintStatus(status: TaskStatus, paint: Paint): string {
  if (status === 'succeeded') return paint.green(status)
  if (status === 'running') return paint.cyan(status)
  if (status === 'failed' || status === 'dead') return paint.red(status)
  return paint.yellow(status)
}

/** The end of `ccm run`: outcome, files, commands, tokens, cost and duration. */
export function summaryLines(task: TaskJson, paint: Paint): string[] {
  const { result } = task
  const took = result === null ? null : showDuration(result.duration_ms)
  const lines = [
    '',
    `${paint.bold(paintStatus(task.status, paint))}${took === null ? '' : ` in ${took}`}  ${paint.dim(task.id)}`,
  ]
  if (task.error !== null) lines.push(`  ${paint.red(oneLine(task.error, 500))}`)
  if (result !== null) lines.push(...resultLines(result, paint))
  lines.push(...workspaceLines(task, paint))
  return lines
}

/** Everything known about a task, as `ccm show` prints it. */
export function showLines(task: TaskJson, paint: Paint): string[] {
  const lines = [`${paint.bold(task.id)}  ${paintStatus(task.status, paint)}${stateOf(task)}`]
  const row = (label: string, value: string | number | null) => {
    if (value !== null) lines.push(`  ${paint.dim(label.padEnd(11))}${oneLine(String(value), 500)}`)
  }
  row('project', task.project)
  row('directory', task.workspace?.dir ?? (task.workspace === null ? task.dir : null))
  row('role', task.role)
  row('model', task.model)
  row('mode', task.permission_mode)
  row('priority', task.priority === 0 ? null : task.priority)
  row('timeout', task.timeout_s === null ? null : showDuration(task.timeout_s * 1000))
  row('attempt', task.attempt)
  row('worker', task.worker)
  row('window', task.window)
  row('session', task.claude_session_id)
  row('created', task.created_at)
  row('started', task.started_at)
  row('finished', task.finished_at)
  row('starts', task.status === 'queued' && task.scheduled_at > task.created_at ? task.scheduled_at : null)
  row('after', task.depends_on.length === 0 ? null : task.depends_on.join(', '))
  row('labels', task.labels.length === 0 ? null : task.labels.join(', '))
  row('dedupe key', task.dedupe_key)
  row('branch', task.workspace?.branch ?? null)
  row('error', task.error)
  lines.push('', paint.bold('Prompt'), ...indented(printable(task.prompt)))
  if (task.waiting_for !== null)
    lines.push('', ...waitingLines(task.waiting_for, paint), ...answerHints(task))
  if (task.result !== null) lines.push('', paint.bold('Result'), ...resultLines(task.result, paint))
  lines.push(...workspaceLines(task, paint))
  return lines
}

/** What a waiting agent wants to know, in full; nothing in it can hide or move on the screen. */
export function waitingLines(question: PendingQuestion, paint: Paint): string[] {
  const heading = {
    permission: `The agent asks to use ${oneLine(question.tool ?? 'a tool')}`,
    question: 'The agent asks',
    plan: 'The agent presents a plan',
    dialog: 'A dialog is open in the window of the agent',
  }[question.kind]
  return [
    paint.bold(paint.yellow(`${heading}:`)),
    ...visible(question.detail)
      .split('\n')
      .map((line) => `  ${paint.dim('│')} ${line}`),
    ...question.options.map((option, index) => `    ${index + 1}. ${oneLine(visible(option))}`),
  ]
}

/** How to answer from another command line. */
export function answerHints(task: TaskJson): string[] {
  const id = task.id
  const kind = task.waiting_for?.kind
  if (kind === 'question') return [`  Answer: ccm send ${id} "TEXT OR NUMBER"   Look: ccm attach ${id}`]
  if (kind === 'dialog') return [`  Answer it in its window: ccm attach ${id}`]
  return [`  Answer: ccm approve ${id}   or   ccm deny ${id} --reason "WHY"   Look: ccm attach ${id}`]
}

/**
 * A table with a header; cells are single lines without colour. On a terminal the last column is cut to what
 * the others leave of its width; elsewhere nothing is cut, so that a program can read all of it.
 */
export function table(header: string[], rows: string[][], paint: Paint, output?: Output): string[] {
  const widths = header.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => cellsOf(row[column] ?? ''))),
  )
  const last = header.length - 1
  const before = widths.slice(0, last).reduce((sum, width) => sum + width + 2, 0)
  const room = output?.isTTY === true ? Math.max((output.columns ?? 80) - before, LEAST_CELLS) : null
  const line = (cells: string[]) =>
    cells
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - cellsOf(cell))))
      .join('  ')
      .trimEnd()
  const fitted = rows.map((row) =>
    row.map((cell, column) => (column === last && room !== null ? cut(cell, room) : cell)),
  )
  return [paint.dim(line(header)), ...fitted.map(line)]
}

/** Where the work is and what is not in it; a person who has nothing to do about it is told nothing. */
function workspaceLines({ id, status, workspace }: TaskJson, paint: Paint): string[] {
  if (workspace === null || workspace.kind === 'in_place') return []
  const { branch, commit, left_out: leftOut, ignored, notes } = workspace
  const said = [
    ...(leftOut.length > 0 ? [`Not in its tree, because not committed: ${nameSome(leftOut)}`] : []),
    ...(ignored.length > 0 ? [`Ignored files, on no branch: ${nameSome(ignored)}`] : []),
    ...notes,
  ]
  const lines = said.map((text) => `  ${oneLine(text, 500)}`)
  if (branch !== null && commit !== null && isFinal(status)) {
    lines.push(`  The work is on ${paint.bold(branch)} (${commit.slice(0, 12)}).`)
    lines.push(
      paint.dim(`  Look: ccm diff ${id}   Bring it home: ccm apply ${id}   Drop it: ccm discard ${id}`),
    )
  }
  return lines.length === 0 ? [] : ['', ...lines]
}

function resultLines(result: TaskResult, paint: Paint): string[] {
  const lines: string[] = []
  const text = printable(result.text).trim()
  if (text !== '') lines.push(...indented(text))
  if (result.files.length > 0) lines.push('', paint.bold('  Files'))
  for (const file of result.files) {
    const counts =
      file.added === null || file.removed === null
        ? 'binary'
        : `${paint.green(`+${file.added}`)} ${paint.red(`-${file.removed}`)}`
    lines.push(`    ${oneLine(file.path)}  ${counts}${file.change === 'modified' ? '' : `  ${file.change}`}`)
  }
  const commands = result.tools.filter((tool) => tool.kind === 'command')
  if (commands.length > 0)
    lines.push('', paint.bold('  Commands'), ...commands.map((tool) => commandLine(tool, paint)))
  if (result.errors.length > 0) {
    lines.push('', paint.bold('  Errors on the way'))
    lines.push(...result.errors.map((error) => `    ${oneLine(error.kind)}: ${oneLine(error.message, 300)}`))
  }
  lines.push('', `  ${factsOf(result).join(' · ')}`)
  if (result.resume_command !== null)
    lines.push(paint.dim(`  Resume by hand: ${oneLine(result.resume_command, 500)}`))
  return lines
}

function commandLine(tool: ToolBlock, paint: Paint): string {
  const code = tool.exit_code === null ? (tool.ok ? 'ended' : 'did not end') : `exit ${tool.exit_code}`
  const took = tool.duration_ms === null ? '' : ` in ${showDuration(tool.duration_ms)}`
  return `    ${oneLine(tool.command ?? '')}  ${tool.ok ? paint.green(code) : paint.red(code)}${paint.dim(took)}`
}

function factsOf(result: TaskResult): string[] {
  const usages = Object.values(result.usage)
  const sum = (pick: (usage: (typeof usages)[number]) => number) =>
    usages.reduce((total, usage) => total + pick(usage), 0)
  const input = sum((u) => u.input_tokens + u.cache_creation_input_tokens + u.cache_read_input_tokens)
  const cost =
    result.cost_usd === null ? 'cost unknown' : `$${result.cost_usd.toFixed(result.cost_usd < 0.1 ? 4 : 2)}`
  return [
    showDuration(result.duration_ms),
    cost,
    ...(usages.length === 0
      ? []
      : [`${showCount(input)} tokens in, ${showCount(sum((u) => u.output_tokens))} out`]),
    ...(result.attempts > 1 ? [`${result.attempts} attempts`] : []),
  ]
}

/** A count of tokens for people: 950, 3.3k, 1.2M. */
export function showCount(count: number): string {
  if (count < 1000) return String(count)
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)}k` : `${(count / 1_000_000).toFixed(2)}M`
}

function stateOf(task: TaskJson): string {
  const state = task.status === 'running' && task.agent_state !== null ? ` · ${task.agent_state}` : ''
  return state + (task.state_reason === null ? '' : `: ${oneLine(task.state_reason)}`)
}

function indented(text: string): string[] {
  return text.split('\n').map((line) => `  ${line}`)
}
