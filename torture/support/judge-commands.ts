/** What became of commands, compared with the log: what was answered is there (P1), and once (P7). */
import type { Seen } from './log.ts'

/** `unknown`: no answer came, so that it may have taken effect, once. */
export type CommandOutcome = 'acknowledged' | 'refused' | 'unknown'

/** A command that a client sent, and what it was told. */
export type SentCommand = { readonly session: string; readonly outcome: CommandOutcome; readonly position?: number | undefined } & (
  | { readonly kind: 'message'; readonly key: string; readonly messageId?: string | undefined; readonly runId?: string | undefined }
  | { readonly kind: 'decision'; readonly call: string; readonly action: string }
  | { readonly kind: 'cancel'; readonly runId: string }
  | { readonly kind: 'rename'; readonly title: string }
)

/** What is missing in the log of a session, or is there too often. */
export function judgeCommands(commands: readonly SentCommand[], log: readonly Seen[]): readonly string[] {
  return commands.flatMap((command) => {
    const what = judgeCommand(command, log)
    return what === undefined ? [] : [`${what.promise}: session ${command.session}, ${describe(command)}, ${command.outcome}: ${what.text}`]
  })
}

interface Complaint {
  readonly promise: string
  readonly text: string
}

function judgeCommand(command: SentCommand, log: readonly Seen[]): Complaint | undefined {
  switch (command.kind) {
    case 'message':
      return judgeMessage(command, log)
    case 'cancel':
      return judgeCancel(command, log)
    case 'decision': {
      const answers = log.filter(({ name, payload }) => name === 'approval_decided' && payload['tool_call_id'] === command.call)
      // Several people may have answered: of each call one answer stands.
      if (answers.length > 1) return { promise: 'P7', text: `the call was decided ${answers.length} times` }
      if (command.outcome !== 'acknowledged' || answers[0]?.payload['action'] === command.action) return undefined
      return { promise: 'P1', text: `the log has ${answers[0] === undefined ? 'no decision' : String(answers[0].payload['action'])}` }
    }
    case 'rename':
      return count(
        command,
        log.filter(({ name, payload }) => name === 'session_updated' && payload['title'] === command.title),
      )
  }
}

function judgeMessage(command: Extract<SentCommand, { kind: 'message' }>, log: readonly Seen[]): Complaint | undefined {
  const mark = `"key":"${command.key}"`
  const added = log.filter(({ name, payload }) => name === 'message_added' && wordsOf(payload).includes(mark))
  const wrong = count(command, added)
  if (wrong !== undefined || command.outcome !== 'acknowledged') return wrong
  const id = added[0]?.payload['message_id']
  return command.messageId === undefined || id === command.messageId
    ? undefined
    : { promise: 'P1', text: `the answer named the message ${command.messageId}, the log has ${String(id)}` }
}

/** The words of a user's message: those of the model quote nothing. */
function wordsOf(payload: Seen['payload']): string {
  const { role, content } = payload['message'] as { role: string; content: unknown }
  if (role !== 'user') return ''
  return typeof content === 'string' ? content : (content as readonly { text?: string }[]).map(({ text = '' }) => text).join('')
}

/** A cancel that was accepted ends its run, unless that had ended before. */
function judgeCancel(command: Extract<SentCommand, { kind: 'cancel' }>, log: readonly Seen[]): Complaint | undefined {
  if (command.outcome !== 'acknowledged') return undefined
  const end = log.find(({ name, runId }) => runId === command.runId && (name === 'run_completed' || name === 'run_error'))
  if (end === undefined) return { promise: 'P8', text: 'the run has not ended' }
  if (end.position <= (command.position ?? 0) || end.payload['stop_reason'] === 'cancelled') return undefined
  return { promise: 'P8', text: `the run ended at ${end.position} as ${String(end.payload['stop_reason'] ?? end.payload['code'])}` }
}

function count(command: SentCommand, found: readonly Seen[]): Complaint | undefined {
  const { outcome } = command
  if (found.length > 1) return { promise: 'P7', text: `it took effect ${found.length} times, at ${found.map(({ position }) => position).join(', ')}` }
  if (outcome === 'acknowledged' && found.length === 0) return { promise: 'P1', text: 'it is not in the log' }
  if (outcome === 'refused' && found.length > 0) return { promise: 'P13', text: `it is in the log at ${found[0]?.position}` }
  return undefined
}

function describe(command: SentCommand): string {
  switch (command.kind) {
    case 'message':
      return `the message ${command.key}`
    case 'decision':
      return `the decision ${command.action} of ${command.call}`
    case 'cancel':
      return `the cancel of run ${command.runId}`
    case 'rename':
      return `the title ${command.title}`
  }
}
