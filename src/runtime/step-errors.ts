/** Failures of steps: as they are thrown, and as the journal keeps them. */
import { ConvokeError } from '../domain/errors.ts'

/** Characters of a failure's text that the journal keeps. */
export const STEP_ERROR_CHARS_MAX = 2_000
/** Characters of a failure's name and code that the journal keeps. */
const WORD_CHARS_MAX = 100

/** A step's failure, as the journal has it. */
export interface Failure {
  readonly name: string
  readonly error: string
  readonly code?: string
}

/** What a failed step throws: the same, by name, message and code, when it happens and in each replay. */
export class StepError extends Error {
  readonly code: string | undefined

  constructor({ name, error, code }: Failure) {
    super(error)
    this.name = name
    this.code = code
  }
}

/** The process died in a step that may not be repeated: nobody knows whether it took effect. Code `step_interrupted`. */
export class StepInterrupted extends ConvokeError {
  /** The step's key. */
  readonly key: string

  constructor(key: string) {
    super('step_interrupted', `the step ${key} was interrupted: it may or may not have taken effect`)
    this.name = 'StepInterrupted'
    this.key = key
  }
}

/** What was thrown, for the journal. */
export function failureOf(thrown: unknown): Failure {
  if (!(thrown instanceof Error)) return { name: 'Error', error: String(thrown).slice(0, STEP_ERROR_CHARS_MAX) }
  const code = 'code' in thrown && typeof thrown.code === 'string' ? { code: thrown.code.slice(0, WORD_CHARS_MAX) } : {}
  return { name: thrown.name.slice(0, WORD_CHARS_MAX), error: thrown.message.slice(0, STEP_ERROR_CHARS_MAX), ...code }
}

/** The recorded failure of the step `key`, to be thrown. */
export function errorOf(key: string, failure: Failure): Error {
  return failure.code === 'step_interrupted' ? new StepInterrupted(key) : new StepError(failure)
}
