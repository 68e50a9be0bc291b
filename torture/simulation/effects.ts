/** What was promised to those who gave commands, compared with what the logs hold at the end (P1, P7, M1). */
import type { Recorded, StreamEvent } from '../../src/domain/event.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import type { Wished } from './client.ts'
import { callKey, type Rules } from './rules.ts'
import type { Truth } from './truth.ts'
import { isTerminal } from '../../src/domain/event.ts'

/** The promises that were not kept, as sentences. */
export function brokenPromises(wished: readonly Wished[], truth: Truth, rules: Rules): readonly string[] {
  const index = indexOf(truth)
  return wished.flatMap((wish) =>
    ofWish(wish, index, truth, rules).map((sentence) => `${sentence} (${wish.wish.tag}, ${wish.command.type}, ${sayAnswer(wish)})`),
  )
}

function sayAnswer({ answer, tries }: Wished): string {
  return `${answer === undefined ? 'no answer' : answer.kind === 'yes' ? 'yes' : answer.code} after ${tries}`
}

interface Index {
  /** How often each tag was written as what. */
  readonly created: Map<string, number>
  readonly forked: Map<string, number>
  readonly renamed: Map<string, number>
  readonly queued: Map<string, number>
  readonly added: Map<string, number>
  readonly models: Map<string, number>
  readonly deleted: Set<SessionId>
  readonly decided: Map<string, string>
  /** What was said of interrupted runs: run and answer. */
  readonly resumed: Set<string>
}

function indexOf(truth: Truth): Index {
  const index: Index = {
    created: new Map(),
    forked: new Map(),
    renamed: new Map(),
    queued: new Map(),
    added: new Map(),
    models: new Map(),
    deleted: new Set(),
    decided: new Map(),
    resumed: new Set(),
  }
  for (const [stream, log] of truth.own()) for (const { event } of log) note(index, stream, event)
  return index
}

function note(index: Index, stream: SessionId, event: StreamEvent): void {
  switch (event.type) {
    case 'SessionCreated':
      return count(index.created, event.title)
    case 'SessionForked':
      return count(index.forked, event.title)
    case 'ResumeDecided':
      return void index.resumed.add(`${event.runId} ${event.action}`)
    case 'SessionUpdated':
      return count(index.renamed, event.title)
    case 'SessionDeleted':
      return void index.deleted.add(stream)
    case 'ModelChanged':
      return count(index.models, event.model)
    case 'MessageQueued':
      return count(index.queued, event.message.content)
    case 'MessageAdded':
      return event.message.role === 'user' ? count(index.added, event.message.content) : undefined
    case 'ApprovalDecided':
      return void index.decided.set(callKey(event.runId, event.toolCallId), event.action)
    default:
  }
}

function count(counts: Map<string, number>, tag: unknown): void {
  if (typeof tag === 'string') counts.set(tag, (counts.get(tag) ?? 0) + 1)
}

function ofWish(wished: Wished, index: Index, truth: Truth, rules: Rules): readonly string[] {
  const { command, wish, stream, tries } = wished
  // Refusals are not kept: one try may be refused while another is on its way that is not.
  const answer = wished.answer?.kind === 'no' && tries > 1 ? undefined : wished.answer
  const tag = wish.tag
  if (answer?.kind === 'yes' && answer.to > truth.headOf(answer.stream)) return ['P1: what was acknowledged is not in the log']
  switch (command.type) {
    case 'CreateSession':
      return once('created', index.created.get(tag) ?? 0, answer)
    case 'ForkSession':
      return once('forked', index.forked.get(tag) ?? 0, answer)
    case 'PurgeSession':
      return answer?.kind === 'yes' && !truth.erased.has(stream) ? ['P1: an acknowledged erasure was none'] : []
    case 'ResumeRun': {
      const end = rules.runs.get(command.runId)?.end ?? ''
      const isSo = index.resumed.has(`${command.runId} ${command.action}`) || (command.action === 'fail' && !GOOD_ENDS.has(end))
      return answer?.kind === 'yes' && !isSo ? ['P1: the acknowledged answer to an interrupted run is not in the log'] : []
    }
    case 'UpdateSession':
      return once('renamed', index.renamed.get(tag) ?? 0, answer)
    case 'SetModel':
      return once('changed', index.models.get(`sim/${tag}`) ?? 0, answer)
    case 'DeleteSession':
      return answer?.kind === 'yes' && !index.deleted.has(stream) ? ['P1: an acknowledged deletion is not in the log'] : []
    case 'SendMessage':
      return ofMessage(index.queued.get(tag) ?? 0, index.added.get(tag) ?? 0, answer, index.deleted.has(stream))
    case 'CancelRun': {
      const fate = rules.runs.get(command.runId)
      return answer?.kind === 'yes' && fate?.endedMs === undefined ? ['P8: a cancelled run has not ended'] : []
    }
    case 'DecideCalls': {
      if (answer?.kind !== 'yes') return []
      const open = command.decisions.filter(({ toolCallId, action }) => index.decided.get(callKey(command.runId, toolCallId)) !== action)
      return open.map(({ toolCallId }) => `P1: the acknowledged answer to ${toolCallId} is not in the log`)
    }
    default:
      return []
  }
}

/** Ends of runs that have not failed. */
const GOOD_ENDS: ReadonlySet<string> = new Set(['completed', 'cancelled', 'max_turns'])

function once(what: string, times: number, answer: Wished['answer']): readonly string[] {
  if (times > 1) return [`P7: ${what} ${times} times`]
  if (answer?.kind === 'yes' && times === 0) return [`P1: acknowledged, and never ${what}`]
  return answer?.kind === 'no' && times > 0 ? [`P13: refused, and ${what}`] : []
}

function ofMessage(queued: number, added: number, answer: Wished['answer'], deleted: boolean): readonly string[] {
  if (queued > 1 || added > 1) return [`P7: a message was taken in twice: queued ${queued}, added ${added}`]
  if (answer?.kind === 'no') return queued + added > 0 ? ['P13: a message was refused and taken in'] : []
  const accepted = answer?.kind === 'yes' || queued > 0
  if (!accepted || added === 1) return []
  // A deleted session starts nothing more: what waited in it is in its log, and nowhere else.
  return queued === 1 && deleted ? [] : [`P1: an accepted message is lost: queued ${queued}, added ${added}`]
}

/** How each run ended, for the summary. */
export function endsOf(truth: Truth): ReadonlyMap<string, number> {
  const ends = new Map<string, number>()
  for (const [, log] of truth.own()) for (const recorded of log) noteEnd(ends, recorded)
  return ends
}

function noteEnd(ends: Map<string, number>, { event }: Recorded): void {
  if (isTerminal(event)) count(ends, event.type === 'RunCompleted' ? event.stopReason : event.code)
}
