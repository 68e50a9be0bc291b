/**
 * Steps of an own agent: intent recorded first, result recorded last (P5).
 *
 * T1. A step with a recorded result is not run.
 * T2. A step that a dead process left is run again only if it is declared repeatable; else the journal says that it was interrupted, for good.
 * T3. What the function is answered is what the journal holds, also the first time.
 */
import type { Json } from '../domain/message.ts'
import type { StepContext, StepOptions } from './define.ts'
import type { Invocation } from './invocation.ts'
import type { StepRecord } from './journal.ts'
import { ConvokeError } from '../domain/errors.ts'
import { RunGone } from './agent.ts'
import { Fatal, Left, withinStep } from './invocation.ts'
import { hashOf, jsonOf } from './journal-value.ts'
import { Speech } from './speech.ts'
import { errorOf, failureOf, type Failure } from './step-errors.ts'

/** Characters that all results of one run may have before its last step. */
export const JOURNAL_CHARS_MAX = 32 * 1024 * 1024
/** Tries that a step may ask for. */
export const STEP_ATTEMPTS_MAX = 20
/** Pause before the second try, in ms, unless the step says otherwise; doubled each time. */
export const STEP_RETRY_MS = 1_000
/** Longest pause between tries, in ms. */
export const STEP_RETRY_MS_MAX = 60_000

/** A step that is to be done or replayed. */
export interface Step<T> extends StepOptions {
  readonly key: string
  readonly fn: (step: InnerStepContext) => T | Promise<T>
  /** The pause before the next try, in ms, in place of what `retry` says. */
  readonly retryMs?: (attempt: number, thrown: unknown) => number | undefined
}

/** What steps of ours are given besides. */
export interface InnerStepContext extends StepContext {
  readonly speech: Speech
}

/** Answers the step's result, from the journal or by doing it. */
export async function takeStep<T>(invocation: Invocation, step: Step<T>): Promise<Json> {
  const { key } = step
  invocation.claim(key)
  requireStep(step)
  const inputHash = step.input === undefined ? undefined : hashOf(jsonOf(step.input, `the input of the step ${key}`))
  const known = invocation.frame.journal.steps.get(key)
  if (known !== undefined && known.inputHash !== inputHash) throw changed(`the step ${key} was recorded with another input`)
  if (known?.status === 'completed') return known.result ?? null
  if (known?.failure !== undefined && known.retryAtMs === undefined) throw errorOf(key, known.failure)
  if (known?.status === 'started' && step.repeatable !== true) return interrupted(invocation, step, known)
  return tryStep(invocation, step, inputHash, known)
}

/** A mistake in how a step is told must not be found by a crash, or by a loop without an end. @throws {ConvokeError} `agent_failed` */
function requireStep({ key, fn, timeoutMs = 1, retry }: Step<unknown>): void {
  const { attempts = 1, delayMs = 0 } = retry ?? {}
  if (typeof fn !== 'function') throw new ConvokeError('agent_failed', `the step ${key} has no function`)
  const wrong = Object.entries({ timeoutMs, attempts, delayMs }).find(([, value]) => !Number.isFinite(value) || value < 0)
  if (wrong !== undefined) throw new ConvokeError('agent_failed', `the step ${key}: ${wrong[0]} is ${String(wrong[1])}`)
}

/** Ends the run: its code asks for something else than the log has. */
export function changed(how: string): Fatal {
  return new Fatal(new ConvokeError('agent_changed', `the agent was changed while this run was under way: ${how}`))
}

/** T2: nobody knows whether it took effect, and nobody will. */
async function interrupted(invocation: Invocation, { key }: Step<unknown>, { attempt }: StepRecord): Promise<never> {
  const failure: Failure = { name: 'StepInterrupted', error: 'the process died in it: it may or may not have taken effect', code: 'step_interrupted' }
  await invocation.record({ type: 'StepFailed', runId: invocation.frame.journal.runId, key, attempt, ...failure })
  throw errorOf(key, failure)
}

async function tryStep<T>(invocation: Invocation, step: Step<T>, inputHash: string | undefined, known: StepRecord | undefined): Promise<Json> {
  const { key } = step
  const { runId, chars } = invocation.frame.journal
  if (chars >= JOURNAL_CHARS_MAX) throw new ConvokeError('agent_failed', `the results of a run have at most ${JOURNAL_CHARS_MAX} characters together`)
  let attempt = known?.attempt ?? 0
  let retryAtMs = known?.retryAtMs
  for (;;) {
    if (retryAtMs !== undefined) await pause(invocation, retryAtMs)
    // A pause may have ended into a stop: nothing else begins then.
    if (invocation.frame.context.stopping) throw new Left()
    attempt++
    await invocation.record({ type: 'StepStarted', runId, key, attempt, ...(inputHash === undefined ? {} : { inputHash }) })
    const speech = new Speech(invocation)
    const outcome = await runOnce(invocation, step, attempt, speech)
    if ('result' in outcome) {
      await speech.complete({ type: 'StepCompleted', runId, key, result: outcome.result, attempt })
      return outcome.result
    }
    const failed = { type: 'StepFailed', runId, key, attempt, ...failureOf(outcome.thrown) } as const
    retryAtMs = retryTime(invocation, step, attempt, outcome.thrown)
    if (retryAtMs === undefined) {
      await speech.cutOff(failed)
      throw errorOf(key, failureOf(outcome.thrown))
    }
    await speech.supersede({ ...failed, retryAtMs })
  }
}

type Outcome = { readonly result: Json } | { readonly thrown: unknown }

async function runOnce<T>(invocation: Invocation, { key, fn, timeoutMs }: Step<T>, attempt: number, speech: Speech): Promise<Outcome> {
  const { context, clock } = invocation.frame
  const late = new AbortController()
  // A signal of its own costs more than a small step.
  const signal = timeoutMs === undefined ? context.signal : AbortSignal.any([context.signal, late.signal])
  let takeBack: () => void = () => undefined
  const timeout = new Promise<never>((_, reject) => {
    if (timeoutMs === undefined) return
    takeBack = clock.after(timeoutMs, () => {
      const error = Object.assign(new Error(`the step ${key} took longer than ${timeoutMs} ms`), { name: 'StepTimeout', code: 'step_timeout' })
      reject(error)
      late.abort(error)
    })
  })
  try {
    // A cancel may have come while the intent was written: then nothing begins.
    context.signal.throwIfAborted()
    const work = withinStep.run(key, async () => fn({ attempt, signal, emit: (text) => speech.say(text), speech }))
    return { result: jsonOf(await Promise.race([work, timeout]), `the result of the step ${key}`) }
  } catch (error) {
    // What a stop or a takeover cut off has not failed: whoever drives the run next decides about it.
    if (context.signal.aborted && context.signal.reason instanceof RunGone) throw new Left(context.signal.reason)
    return { thrown: error }
  } finally {
    takeBack()
  }
}

function retryTime({ frame }: Invocation, step: Step<unknown>, attempt: number, thrown: unknown): number | undefined {
  if (frame.context.signal.aborted) return undefined
  const delayMs = step.retryMs === undefined ? retryMs(step, attempt) : step.retryMs(attempt, thrown)
  return delayMs === undefined ? undefined : frame.clock.nowMs() + delayMs
}

function retryMs({ retry }: Step<unknown>, attempt: number): number | undefined {
  if (retry === undefined || attempt >= Math.min(retry.attempts, STEP_ATTEMPTS_MAX)) return undefined
  return Math.min((retry.delayMs ?? STEP_RETRY_MS) * 2 ** (attempt - 1), STEP_RETRY_MS_MAX)
}

/** Waits between tries. A stop leaves the rest of it to the next process. */
async function pause({ frame }: Invocation, untilMs: number): Promise<void> {
  const { signal, released } = frame.context
  if (frame.clock.nowMs() >= untilMs) return
  try {
    await frame.clock.sleepUntil(untilMs, AbortSignal.any([signal, released]))
  } catch {
    // The signals say why.
    throw new Left(signal.aborted && signal.reason instanceof RunGone ? signal.reason : undefined)
  }
}

/** A value that is made at once and the same in each replay. */
export function takeInstant(invocation: Invocation, kind: string, make: () => number | string): Json {
  const { journal, context } = invocation.frame
  // A step's function does not run in a replay: there it would take another's place in the order.
  if (withinStep.getStore() !== undefined) return make()
  const key = invocation.next(kind)
  const known = journal.steps.get(key)
  if (known !== undefined) return known.result ?? null
  const result = make()
  // Not waited for: whatever is built on it is recorded behind it. Of a dropped invocation nobody will hear.
  if (invocation.frame.counts(invocation)) context.emit({ type: 'StepCompleted', runId: journal.runId, key, result })
  return result
}
