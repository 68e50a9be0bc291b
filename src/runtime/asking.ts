/**
 * Questions of an own agent to a person: each is a call that nobody runs, so that every client and dialect can answer it.
 *
 * Q1. What is asked in one go is one proposal: one turn with several calls.
 * Q2. Policy answers first, as for a tool of that name. What it leaves to a person waits, for days if need be.
 * Q3. Each call gets its result as soon as the function has heard the answer.
 */
import type { Disposition, ProposedCall, RunEvent } from '../domain/event.ts'
import type { RunId } from '../domain/ids.ts'
import type { ApprovalAnswer, ApprovalRequest } from './define.ts'
import type { Invocation, Question } from './invocation.ts'
import type { CallRecord } from './journal.ts'
import { DENIED_RESULT, REJECTED_RESULT } from '../domain/decide-calls.ts'
import { ConvokeError } from '../domain/errors.ts'
import { CALLS_MAX } from '../domain/session.ts'
import { hashOf, jsonOf } from './journal-value.ts'
import { requireText, spoken, turnEndUnlessCalls, turnOf, turnStart } from './speech.ts'
import { changed } from './steps.ts'

/** The result of a question that was answered with yes. */
export const APPROVED_RESULT = 'approved'
/** What may be asked about, by name: as tools are called. */
const CALL_NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** Asks, or answers from the journal. Does not settle while the answer is not there. */
export async function takeApproval(
  invocation: Invocation,
  key: string,
  request: ApprovalRequest,
  dispositionOf: (name: string) => Disposition,
): Promise<ApprovalAnswer> {
  invocation.claim(key)
  const { journal } = invocation.frame
  const question = questionOf(journal.runId, key, request, dispositionOf)
  const call = await takeCall(invocation, key, question)
  if (call.status !== 'ended') await close(invocation, call)
  return answerOf(call)
}

/** Proposes a call, where the journal does not have it, and answers it when nobody need be waited for. */
export async function takeCall(invocation: Invocation, key: string, question: Question): Promise<CallRecord> {
  const { calls } = invocation.frame.journal
  const known = calls.get(question.id)
  if (known !== undefined && !isSame(known, question)) throw changed(`${key} was asked with another name or other arguments`)
  if (known === undefined) await ask(invocation, question)
  await invocation.answered(question.id)
  const call = calls.get(question.id)
  if (call === undefined) throw new ConvokeError('internal_error', `the call ${key} is not in the journal`)
  return call
}

/** Gives a call the result that follows from its answer. @see Q3 */
export function close(invocation: Invocation, call: CallRecord): Promise<void> {
  return invocation.voice.hold(() => invocation.record(...closing(invocation, call)))
}

function questionOf(runId: RunId, key: string, request: ApprovalRequest, dispositionOf: (name: string) => Disposition): Question {
  const { name, reason = '' } = request
  if (typeof name !== 'string' || !CALL_NAME.test(name))
    throw new ConvokeError('agent_failed', `what is asked about has a name of 1 to 64 letters, digits, _ and -: ${JSON.stringify(name)} does not`)
  requireText(reason, 'the reason of a question')
  const args = jsonOf(request.arguments ?? {}, `the arguments of the question ${key}`)
  return { id: callId(runId, key), name, arguments: args, reason, disposition: dispositionOf(name) }
}

/** The id of the call that an own agent makes under `key`: the same in each replay, and fit for every provider. */
export function callId(runId: RunId, key: string): string {
  return `own_${hashOf([runId, key])}`
}

function isSame(known: CallRecord, asked: Pick<Question, 'name' | 'arguments'>): boolean {
  return known.name === asked.name && hashOf(known.arguments) === hashOf(asked.arguments)
}

/** Q1: the first of those that ask at once asks for all. */
function ask(invocation: Invocation, question: Question): Promise<void> {
  const { questions } = invocation
  questions.push(question)
  const batch = (invocation.asking ??= invocation.voice.hold(async () => {
    invocation.asking = undefined
    await propose(invocation, questions.splice(0))
  }))
  return batch
}

async function propose(invocation: Invocation, questions: readonly Question[]): Promise<void> {
  const { journal, random } = invocation.frame
  const { runId } = journal
  if (journal.openCalls.length + questions.length > CALLS_MAX) throw new ConvokeError('agent_failed', `at most ${CALLS_MAX} questions may be open`)
  const calls = questions.map(({ id, name, arguments: args, disposition }): ProposedCall => ({ id, name, arguments: args, disposition }))
  const reasons = questions.flatMap(({ reason }) => (reason === '' ? [] : [reason])).join('\n\n')
  const parts = calls.map(({ id, name, arguments: args }) => ({ type: 'tool_call', id, name, arguments: args }) as const)
  const asked = calls.flatMap(({ id, disposition }) => (disposition === 'ask' ? [id] : []))
  const ready = new Set(questions.flatMap(({ id, tool, disposition }) => (tool === true && disposition === 'approve' ? [id] : [])))
  const decided = calls.filter(({ id, disposition }) => disposition !== 'ask' && !ready.has(id))
  const open: readonly RunEvent[] = asked.length === 0 ? [] : [{ type: 'ApprovalRequested', runId, toolCallIds: asked }]
  await invocation.record(
    ...turnStart(journal),
    ...spoken(journal, random.uuid(), reasons, parts),
    { type: 'ToolCallsProposed', runId, turn: turnOf(journal), calls },
    ...open,
    ...decided.map((call) => resultOf(runId, { ...call, status: 'open', attempt: 0 })),
    ...(asked.length + ready.size === 0 ? turnEndUnlessCalls(journal, 'tool_calls') : []),
  )
}

/** Q3. */
function closing({ frame }: Invocation, call: CallRecord): readonly RunEvent[] {
  const { journal } = frame
  return [resultOf(journal.runId, call), ...turnEndUnlessCalls(journal, 'tool_calls', [call.id])]
}

function resultOf(runId: RunId, call: CallRecord): RunEvent {
  const { action, content } = answerOf(call)
  const place = { runId, toolCallId: call.id, toolName: call.name } as const
  if (action === 'reject') return { type: 'ToolRejected', ...place, reason: call.disposition === 'deny' ? DENIED_RESULT : REJECTED_RESULT }
  return { type: 'ToolCompleted', ...place, result: action === 'accept' ? APPROVED_RESULT : (content ?? ''), isError: false }
}

/** The answer: a person's, else policy's. A question that ended without either is one that nobody said yes to. */
export function answerOf({ decision, disposition }: CallRecord): ApprovalAnswer {
  if (decision === undefined) return { action: disposition === 'approve' ? 'accept' : 'reject', by: 'policy' }
  const { action, content, by } = decision
  return { action, by, ...(content === undefined ? {} : { content }) }
}
