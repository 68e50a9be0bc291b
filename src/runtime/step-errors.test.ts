import { describe, expect, test } from 'vitest'
import { ConvokeError } from '../domain/errors.ts'
import { StepError, StepInterrupted, errorOf, failureOf } from './step-errors.ts'

describe('what was thrown', () => {
  test.each<[string, unknown, object]>([
    ['an error', new TypeError('no'), { name: 'TypeError', error: 'no' }],
    ['an error with a code', Object.assign(new Error('gone'), { code: 'ENOENT' }), { name: 'Error', error: 'gone', code: 'ENOENT' }],
    ['an error whose code is a number', Object.assign(new Error('gone'), { code: 404 }), { name: 'Error', error: 'gone' }],
    ['an error of ours', new ConvokeError('model_auth', 'no key'), { name: 'ConvokeError', error: 'no key', code: 'model_auth' }],
    ['text', 'no', { name: 'Error', error: 'no' }],
    ['nothing', undefined, { name: 'Error', error: 'undefined' }],
    ['too much', new Error('x'.repeat(5_000)), { name: 'Error', error: 'x'.repeat(2_000) }],
  ])('is kept by name, text and code: %s', (_what, thrown, failure) => {
    expect(failureOf(thrown)).toEqual(failure)
  })

  test('is thrown again as it was kept', () => {
    const error = errorOf('k', { name: 'TypeError', error: 'no', code: 'E' })
    expect(error).toBeInstanceOf(StepError)
    expect([error.name, error.message, (error as StepError).code, failureOf(error)]).toEqual([
      'TypeError',
      'no',
      'E',
      { name: 'TypeError', error: 'no', code: 'E' },
    ])
  })

  test('is another class where the process died in the step', () => {
    const error = errorOf('pay', { name: 'StepInterrupted', error: 'x', code: 'step_interrupted' })
    expect(error).toBeInstanceOf(StepInterrupted)
    expect(error).toMatchObject({ code: 'step_interrupted', key: 'pay' })
  })
})
