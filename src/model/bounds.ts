/**
 * What one answer of a provider may cost: a model that does not stop, or does not begin, must not hold a run or the memory for ever.
 *
 * B1. An answer that is silent for `MODEL_IDLE_MS` has failed as `model_unavailable`. Only what the model says counts, not what keeps a line open.
 * B2. One that says more than `ANSWER_CHARS_MAX`, or sends more than `ANSWER_BYTES_MAX`, has failed as `model_refused`: the next try would be as long.
 * B3. A redirect is not followed: the key would go to an address that nobody configured.
 */
import type { Clock } from '../domain/ports.ts'
import { ConvokeError } from '../domain/errors.ts'

/** Longest silence of a model inside an answer and before it, in ms, unless the configuration says otherwise. */
export const MODEL_IDLE_MS = 300_000
/** Characters of text, thinking and arguments in one answer. */
export const ANSWER_CHARS_MAX = 4 * 1024 * 1024
/** Bytes that a provider may send for one answer, unpacked. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024

/** Watches one answer for silence. */
export interface IdleWatch {
  readonly signal: AbortSignal
  /** The model has said something. `taking`: whoever reads it is at work, and nothing is waited for until it is said that it was heard. */
  heard(taking?: boolean): void
  close(): void
}

/** A watch that aborts its signal once nothing was heard for `idleMs`. One timer at a time: a token costs a look at the clock. */
export function watchIdle(clock: Clock, idleMs: number): IdleWatch {
  const idle = new AbortController()
  let heardMs = clock.monotonicMs()
  let isTaken = false
  let takeBack: () => void = () => undefined
  const wait = (leftMs: number) => {
    takeBack = clock.after(leftMs, () => {
      const silentMs = isTaken ? 0 : clock.monotonicMs() - heardMs
      if (silentMs < idleMs) wait(idleMs - silentMs)
      else idle.abort(new ConvokeError('model_unavailable', `the model provider said nothing for ${idleMs} ms`))
    })
  }
  wait(idleMs)
  return {
    signal: idle.signal,
    heard(taking = false) {
      isTaken = taking
      heardMs = clock.monotonicMs()
    },
    close: () => takeBack(),
  }
}

/** The error for an answer that is too long. */
export function tooLong(unit: 'characters' | 'bytes', most: number): ConvokeError {
  return new ConvokeError('model_refused', `the model's answer has more than ${most} ${unit}`)
}

/** `fetch` for the provider packages. @see B2, B3 */
export const boundedFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, { ...init, redirect: 'manual' })
  if (response.body === null) return response
  const { status, statusText, headers } = response
  return new Response(bounded(response.body), { status, statusText, headers })
}

function bounded(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  let bytes = 0
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read()
        if (done) return controller.close()
        bytes += value.byteLength
        if (bytes <= ANSWER_BYTES_MAX) return controller.enqueue(value)
        const error = tooLong('bytes', ANSWER_BYTES_MAX)
        controller.error(error)
        await reader.cancel(error)
      },
      cancel: (reason) => reader.cancel(reason),
    },
    // What nobody asks for is not read.
    { highWaterMark: 0 },
  )
}
