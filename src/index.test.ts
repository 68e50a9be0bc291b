import { expect, test } from 'vitest'
import * as surface from './index.ts'

test('the package shows these values, and adding one is on purpose', () => {
  expect(Object.keys(surface).toSorted()).toEqual(['ConvokeError', 'Server', 'StepError', 'StepInterrupted', 'defineAgent', 'defineTool'])
})
