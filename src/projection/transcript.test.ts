import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import { messageId, runId, sessionId, userId } from '../domain/ids.ts'
import { NO_USAGE } from '../domain/usage.ts'
import { summarize, type SessionSummary } from './session-summary.ts'
import { messageOf } from './transcript.ts'

const R1 = runId('r1')
const ALICE = userId('alice')
const call = { runId: R1, toolCallId: 'c1', toolName: 'bash' }
const read = (event: StreamEvent) => messageOf({ position: 7, atMs: 1234, event })
const place = { position: 7, atMs: 1234, runId: 'r1' }

describe('a message of the transcript', () => {
  test('is what a person said, as it was sent', () => {
    const content = [
      { type: 'text', text: 'look' },
      { type: 'image', url: 'data:,', detail: 'low', providerOptions: { a: 1 } },
    ] as const
    const message = { role: 'user', content, name: 'Al', providerOptions: { b: 2 } } as const
    expect(read({ type: 'MessageAdded', runId: R1, messageId: messageId('m'), message, delivery: 'steer' })).toEqual({ ...place, messageId: 'm', message })
  })

  test('is what the model said, marked where it was cut off', () => {
    const message = { role: 'assistant', content: [{ type: 'text', text: 'so' }] } as const
    const event = { type: 'MessageAdded', runId: R1, messageId: messageId('m'), message } as const
    expect(read(event)).toEqual({ ...place, messageId: 'm', message })
    expect(read({ ...event, partial: true })).toEqual({ ...place, messageId: 'm', message, partial: true })
  })

  test.each([true, false])('is what a tool answered: an error %j', (isError) => {
    expect(read({ type: 'ToolCompleted', ...call, result: 'text', isError, outputFile: '/tmp/x' })).toEqual({
      ...place,
      message: { role: 'tool', content: [{ type: 'tool_result', toolCallId: 'c1', toolName: 'bash', content: 'text', isError }] },
    })
  })

  test('is why a call was refused, as an error', () => {
    expect(read({ type: 'ToolRejected', ...call, reason: 'denied' })).toEqual({
      ...place,
      message: { role: 'tool', content: [{ type: 'tool_result', toolCallId: 'c1', toolName: 'bash', content: 'denied', isError: true }] },
    })
  })
})

const message = { role: 'user', content: '' } as const
const OTHERS: readonly StreamEvent[] = [
  { type: 'SessionCreated', owner: ALICE, title: '', agent: 'coder' },
  { type: 'MessageQueued', messageId: messageId('q'), nextRunId: R1, delivery: 'steer', message, options: {}, by: ALICE },
  { type: 'TextDelta', runId: R1, delta: 'x' },
  { type: 'TextCompleted', runId: R1, text: 'x' },
  { type: 'ThinkingDelta', runId: R1, delta: 'x' },
  { type: 'ToolCallsProposed', runId: R1, turn: 1, calls: [] },
  { type: 'ToolProgressed', runId: R1, toolCallId: 'c1', message: 'half' },
  { type: 'ApprovalDecided', runId: R1, toolCallId: 'c1', action: 'custom_result', content: 'mine', by: ALICE },
  { type: 'RunFailed', runId: R1, code: 'x', error: 'y', totalUsage: NO_USAGE },
  { type: 'Unknown', originalType: 'MessageAdded' },
]

test.each(OTHERS)('$type is no message', (event) => {
  expect(read(event)).toBeUndefined()
})

test('the list counts exactly the messages of the transcript', () => {
  const messages: readonly StreamEvent[] = [
    { type: 'MessageAdded', runId: R1, messageId: messageId('m'), message },
    { type: 'ToolCompleted', ...call, result: '', isError: false },
    { type: 'ToolRejected', ...call, reason: '' },
    { type: 'ApprovalRequested', runId: R1, toolCallIds: ['c1'] },
  ]
  // A session is created once: that begins its count.
  const anEvent = fc.constantFrom(...messages, ...OTHERS.slice(1))
  fc.assert(
    fc.property(fc.array(anEvent, { maxLength: 40 }), (events) => {
      const log = [OTHERS[0] as StreamEvent, ...events].map((event, index) => ({ position: index + 1, atMs: 1, event }))
      const summary = log.reduce<SessionSummary | undefined>((row, recorded) => summarize(sessionId('s1'), row, recorded), undefined)
      expect(summary?.messageCount).toBe(log.filter((recorded) => messageOf(recorded) !== undefined).length)
    }),
  )
})
