import { describe, expect, test } from 'vitest'
import { gapOf, startOf, viewOf } from './cursor.ts'

const LOG = 'this-log'
const HEAD = 8
const start = (asked: Parameters<typeof startOf>[0]) => startOf(asked, LOG, HEAD)

describe('a reader begins', () => {
  test.each([
    ['at the head without a cursor', {}, { after: 8 }],
    ['at the head of a log that it only names', { log: LOG }, { after: 8 }],
    ['at the head of another log without a cursor: nothing can be missing', { log: 'other' }, { after: 8 }],
    ['at the beginning', { after: '0' }, { after: 0 }],
    ['at its cursor', { after: '5' }, { after: 5 }],
    ['at its header’s cursor', { header: '3', after: '5' }, { after: 3 }],
    ['at its query’s cursor when the header is none', { header: 'x', after: '5' }, { after: 5 }],
    ['at the head when the only cursor is a header that is none', { header: '1.0' }, { after: 8 }],
    ['at its header’s cursor, though the query’s is none', { header: '3', after: 'x' }, { after: 3 }],
    ['at the head itself', { after: '8' }, { after: 8 }],
    ['behind a gap, beyond the head', { after: '9' }, { after: 8, gap: { requested: 9 } }],
    ['behind a gap, in another log', { after: '2', log: 'other' }, { after: 8, gap: { requested: 2 } }],
    ['behind a gap, at the beginning of another log', { after: '0', log: 'other' }, { after: 8, gap: { requested: 0 } }],
  ])('%s', (_what, asked, expected) => {
    expect(start(asked)).toEqual(expected)
  })

  test.each(['', '-1', '+1', '1.0', '1e3', '0x1', ' 1', '1 ', '١', 'NaN', '9'.repeat(21)])('nowhere after %j', (after) => {
    expect(() => start({ after })).toThrow(expect.objectContaining({ code: 'invalid_cursor' }))
  })
})

test('a gap is told in the contract’s words', () => {
  expect(gapOf(9, 1, 8)).toEqual({ requested_after_id: 9, oldest_available_id: 1, newest_available_id: 8, resume_hint: 'refresh_snapshot_then_resume' })
})

test('only who asks for all events gets them', () => {
  expect([undefined, 'contract', 'ALL', 'all'].map((events) => viewOf(events))).toEqual(['contract', 'contract', 'contract', 'all'])
})
