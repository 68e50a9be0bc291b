import { describe, expect, test } from 'vitest'
import { SocketCommand, SocketMessage, refOf } from './socket.ts'

const ID = '01900000-0000-7000-8000-000000000001'
const message = { role: 'user', content: 'hi' }

describe('a frame of a client', () => {
  test.each<[string, unknown, boolean]>([
    ['a message', { type: 'message', message }, true],
    [
      'a message with all that it may bring',
      { type: 'message', ref: 1, kind: 'steering', run_id: ID, when_busy: 'steer', message, context: [], overrides: {} },
      true,
    ],
    ['a message of an unknown kind', { type: 'message', kind: 'shout', message }, false],
    ['a message without one', { type: 'message' }, false],
    ['an answer', { type: 'decision', run_id: ID, tool_call_id: 'c1', action: 'accept' }, true],
    ['answers', { type: 'decision', run_id: ID, decisions: { c1: { action: 'reject' } } }, true],
    ['an answer of no known action', { type: 'decision', run_id: ID, tool_call_id: 'c1', action: 'maybe' }, false],
    ['an answer to no run', { type: 'decision', tool_call_id: 'c1', action: 'accept' }, false],
    ['a cancel', { type: 'cancel', run_id: ID }, true],
    ['a cancel of no run', { type: 'cancel' }, false],
    ['a resumption', { type: 'resume', after: 0 }, true],
    ['a resumption from below nothing', { type: 'resume', after: -1 }, false],
    ['a resumption from between two', { type: 'resume', after: 1.5 }, false],
    ['an unknown wish', { type: 'dance' }, false],
    ['no wish', {}, false],
    ['a list', [], false],
    ['nothing', null, false],
  ])('%s', (_what, frame, taken) => {
    expect(SocketCommand.safeParse(frame).success).toBe(taken)
  })

  test.each<[string, unknown, boolean]>([
    ['text', 'a', true],
    ['empty text', '', true],
    ['200 characters', 'x'.repeat(200), true],
    ['201 characters', 'x'.repeat(201), false],
    ['a number', 7, true],
    ['nothing', null, true],
    ['an object', {}, false],
  ])('may be named by %s', (_what, ref, taken) => {
    for (const frame of [
      { type: 'cancel', run_id: ID },
      { type: 'resume', after: 1 },
      { type: 'message', message },
    ]) {
      expect(SocketCommand.safeParse({ ...frame, ref }).success).toBe(taken)
    }
  })

  test('keeps the type of the REST body apart from its own', () => {
    expect(SocketCommand.parse({ type: 'message', kind: 'follow_up', message })).toEqual({ type: 'message', kind: 'follow_up', message })
  })
})

describe('the name of a frame that may be anything', () => {
  test.each<[unknown, string | number | null]>([
    [{ ref: 'a', type: 'nonsense' }, 'a'],
    [{ ref: 0 }, 0],
    [{ ref: null }, null],
    [{ ref: {} }, null],
    [{ ref: 'x'.repeat(201) }, null],
    [{}, null],
    [null, null],
    ['a', null],
    [[{ ref: 'a' }], null],
    [undefined, null],
  ])('in %j is %j', (frame, ref) => {
    expect(refOf(frame)).toBe(ref)
  })
})

test.each<[string, unknown, boolean]>([
  [
    'an event',
    { type: 'event', name: 'run_started', id: 1, session_id: ID, run_id: ID, timestamp: '2026-01-02T03:04:05Z', event: { RunStarted: { run_id: ID } } },
    true,
  ],
  ['an event without its name', { type: 'event', id: 1, session_id: ID, run_id: ID, timestamp: '2026-01-02T03:04:05Z', event: {} }, false],
  ['an answer', { type: 'ack', ref: 'a', position: 0 }, true],
  ['an answer to a frame without a name', { type: 'ack', ref: null, position: 3 }, true],
  ['an answer without a position', { type: 'ack', ref: null }, false],
  ['an error', { type: 'error', ref: 1, code: 'not_found', error: 'no' }, true],
  ['a gap', { type: 'gap_detected', requested_after_id: 9, oldest_available_id: 0, newest_available_id: 3, resume_hint: 'refresh_snapshot_then_resume' }, true],
  ['a sign of life', { type: 'keepalive' }, true],
  ['anything else', { type: 'pong' }, false],
])('the server sends %s', (_what, frame, valid) => {
  expect(SocketMessage.safeParse(frame).success).toBe(valid)
})
