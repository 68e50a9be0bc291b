/** What lies in an engine is compared with what somebody reads; a look that sees nothing would prove nothing. */
import { expect, test } from 'vitest'
import type { StreamEvent } from '../../src/domain/event.ts'
import { messageId, runId, sessionId, userId } from '../../src/domain/ids.ts'
import { remains, type Held } from '../../torture/simulation/remains.ts'
import { Truth } from '../../torture/simulation/truth.ts'

const alice = userId('alice')
const uuid = (digit: number) => `01900000-0000-7000-8000-00000000000${digit}`
const [ORIGIN, FORK, FORK_OF_FORK] = [sessionId(uuid(1)), sessionId(uuid(2)), sessionId(uuid(3))]
const said = (digit: number): StreamEvent => {
  return { type: 'MessageAdded', messageId: messageId(uuid(digit)), runId: runId(uuid(9)), message: { role: 'user', content: 'hi' } }
}
const forked = (origin: typeof ORIGIN, position: number): StreamEvent => {
  return { type: 'SessionForked', origin: { sessionId: origin, position }, owner: alice, title: 't', agent: 'convoke', messages: 1, by: alice }
}

/** A session of three messages, a fork at 2 with one of its own, and a fork of that at `at`; the first is erased. */
function erasedOrigin(at: number): Truth {
  const truth = new Truth()
  const add = (stream: typeof ORIGIN, from: number, ...events: readonly StreamEvent[]) =>
    events.forEach((event, index) => truth.add(stream, { position: from + index, atMs: 0, event }))
  add(ORIGIN, 1, said(4), said(5), said(6))
  add(FORK, 3, forked(ORIGIN, 2), said(7))
  add(FORK_OF_FORK, at + 1, forked(FORK, at))
  truth.erase(ORIGIN)
  return truth
}

const held = (events: number, messages: number, text = ''): Held => ({ text, events, messages, stray: [] })
const sentences = (truth: Truth, what: Held, outputs = new Map<typeof ORIGIN, Set<string>>()) => [...remains(what, outputs, truth)]

test('what forks inherit stays, up to the last position that one of them reads', () => {
  const truth = erasedOrigin(1)
  expect(
    truth
      .kept()
      .get(ORIGIN)
      ?.map(({ position }) => position),
  ).toEqual([1, 2])
  expect(sentences(truth, held(5, 3, `${uuid(4)} ${uuid(5)} ${uuid(9)}`))).toEqual([])
  truth.erase(FORK)
  expect(
    truth
      .kept()
      .get(ORIGIN)
      ?.map(({ position }) => position),
  ).toEqual([1])
  expect(truth.kept().get(FORK)).toEqual([])
})

test('a fork of a fork keeps what both wrote', () => {
  const truth = erasedOrigin(4)
  truth.erase(FORK)
  expect(
    truth
      .kept()
      .get(ORIGIN)
      ?.map(({ position }) => position),
  ).toEqual([1, 2])
  expect(
    truth
      .kept()
      .get(FORK)
      ?.map(({ position }) => position),
  ).toEqual([3, 4])
})

test('rows that nobody reads, or that are missing, are seen', () => {
  const truth = erasedOrigin(1)
  expect(sentences(truth, held(6, 4))).toEqual([
    'U2: the engine keeps 6 event(s), and 5 are read by somebody',
    'U2: the engine keeps 4 message(s), and 3 are read by somebody',
  ])
  expect(sentences(truth, { ...held(5, 3), stray: ['1 leftovers are left'] })).toEqual(['U2: 1 leftovers are left'])
})

test('a name of what is gone is found wherever it stands', () => {
  expect(sentences(erasedOrigin(1), held(5, 3, `[{"x":"${uuid(6)}"}]`))).toEqual([`L14: ${uuid(6)} of the erased session ${ORIGIN} is still in the engine`])
})

test('a file stays as long as a history names it, and no longer', () => {
  const result = (call: string): StreamEvent => {
    const file = `/outputs/${ORIGIN}/${call}.txt`
    return { type: 'ToolCompleted', runId: runId(uuid(9)), toolCallId: call, toolName: 'look', result: '', isError: false, outputFile: file }
  }
  const truth = new Truth()
  ;[result('a'), result('b')].forEach((event, index) => truth.add(ORIGIN, { position: index + 1, atMs: 0, event }))
  truth.add(FORK, { position: 2, atMs: 0, event: forked(ORIGIN, 1) })
  truth.erase(ORIGIN)
  const files = (...names: readonly string[]) => new Map([[ORIGIN, new Set(names)]])
  expect(sentences(truth, held(2, 1), files('a.txt'))).toEqual([])
  expect(sentences(truth, held(2, 1), files('b.txt'))).toEqual([
    `P2 of purge: /outputs/${ORIGIN}/a.txt is gone, and a history names it`,
    `P1 of purge: /outputs/${ORIGIN}/b.txt of an erased session is still there`,
  ])
})
