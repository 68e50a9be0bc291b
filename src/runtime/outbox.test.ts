import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { runId, sessionId, userId } from '../domain/ids.ts'
import type { Write, WriteOutcome } from '../log/store.ts'
import { systemClock } from '../system/clock.ts'
import { settle } from '../testing/run-kit.ts'
import type { DriverEvent } from './agent.ts'
import { OUTBOX_BYTES_MAX, Outbox } from './outbox.ts'

const RUN = runId('r1')
const STREAM = sessionId('s1')
const delta = (text: string): DriverEvent => ({ type: 'TextDelta', runId: RUN, delta: text })
const deltas = (count: number, text = 'x') => Array.from({ length: count }, () => delta(text))

/** An outbox over a log whose commits are answered when the test says so. */
function setUp() {
  const commits: { readonly write: Write; readonly answer: (outcome?: WriteOutcome) => void; readonly fail: (error: Error) => void }[] = []
  let head = 0
  const appended = (write: Write): WriteOutcome => {
    const from = head + 1
    head += write.kind === 'record' ? write.events.length : 1
    const facts = { events: [], atMs: 0, owner: userId('u'), reply: {}, replayed: false, feed: 1 }
    return { kind: 'appended', stream: STREAM, from, to: head, ...facts }
  }
  const outbox = new Outbox({
    write: (events) => ({ kind: 'record', stream: STREAM, runId: RUN, fence: 1, events, atMs: 0 }),
    commit: ([write]) =>
      new Promise((resolve, reject) => {
        if (write === undefined) return reject(new Error('a commit has a write'))
        commits.push({ write, answer: (outcome) => resolve([outcome ?? appended(write)]), fail: reject })
      }),
    turn: () => systemClock.turn(),
    fenced: () => new Error('fenced'),
  })
  const written = () => commits.map(({ write }) => (write.kind === 'record' ? write.events.length : 0))
  return { outbox, commits, written }
}

/** What became of a promise so far. */
function watched(promise: Promise<unknown>): { state: string } {
  const watch = { state: 'waits' }
  promise.then(
    (value) => (watch.state = `done ${String(value)}`),
    (error: unknown) => (watch.state = `failed ${String(error instanceof Error ? error.message : error)}`),
  )
  return watch
}

const FINISH: Write = { kind: 'decide', stream: STREAM, command: { type: 'ForceCancel', runId: RUN }, asker: 'driver', atMs: 0 }

describe('writes', () => {
  test('what is pushed in one turn of the loop is one write', async () => {
    const { outbox, written } = setUp()
    void outbox.push(deltas(2))
    void outbox.push(deltas(1))
    expect(written()).toEqual([])
    await settle(3)
    expect(written()).toEqual([3])
  })

  test('what comes while one commit is under way goes out with the next, and never before it', async () => {
    const { outbox, commits, written } = setUp()
    void outbox.push(deltas(1))
    await settle(3)
    void outbox.push(deltas(2))
    void outbox.push(deltas(3))
    await settle(3)
    expect(written()).toEqual([1])
    commits[0]?.answer()
    await settle(3)
    expect(written()).toEqual([1, 5])
  })

  test('each push answers with the end of its write, once that is durable', async () => {
    const { outbox, commits } = setUp()
    const first = watched(outbox.push(deltas(2)))
    const second = watched(outbox.push(deltas(3)))
    await settle(3)
    expect([first.state, second.state]).toEqual(['waits', 'waits'])
    commits[0]?.answer()
    await settle(3)
    expect([first.state, second.state]).toEqual(['done 5', 'done 5'])
  })

  test('what is emitted goes out with what is pushed, in the order of both', async () => {
    const { outbox, commits } = setUp()
    outbox.emit(delta('a'))
    void outbox.push([delta('b')])
    outbox.emit(delta('c'))
    await settle(3)
    const write = commits[0]?.write
    expect(write?.kind === 'record' && write.events).toEqual([delta('a'), delta('b'), delta('c')])
  })

  test.each([
    [1024, 0, [1024]],
    [1000, 24, [1024]],
    [1000, 25, [1000, 25]],
  ])('a write holds at most 1024 events: %i and %i', async (first, second, expected) => {
    const { outbox, commits, written } = setUp()
    void outbox.push(deltas(first))
    if (second > 0) void outbox.push(deltas(second))
    for (let index = 0; index < expected.length; index++) {
      await settle(3)
      commits[index]?.answer()
    }
    expect(written()).toEqual(expected)
  })

  test('any pushes come out in order, each event once', async () => {
    const anyPush = fc.record({ size: fc.integer({ min: 1, max: 5 }), pause: fc.integer({ min: 0, max: 3 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(anyPush, { maxLength: 20 }), async (pushes) => {
        const out: string[] = []
        const outbox = new Outbox({
          write: (events) => ({ kind: 'record', stream: STREAM, runId: RUN, fence: 1, events, atMs: 0 }),
          async commit([write]) {
            await settle(1)
            if (write?.kind === 'record') out.push(...write.events.map((event) => (event.type === 'TextDelta' ? event.delta : '?')))
            const facts = { events: [], atMs: 0, owner: userId('u'), reply: {}, replayed: false, feed: 1 }
            return [{ kind: 'appended', stream: STREAM, from: 0, to: out.length, ...facts }]
          },
          turn: () => systemClock.turn(),
          fenced: () => new Error('fenced'),
        })
        let next = 0
        const done: Promise<number>[] = []
        for (const { size, pause } of pushes) {
          done.push(outbox.push(Array.from({ length: size }, () => delta(String(next++)))))
          await settle(pause)
        }
        await Promise.all(done)
        expect(out).toEqual(Array.from({ length: next }, (_, index) => String(index)))
      }),
      { numRuns: 30 },
    )
  })
})

describe('the bound (O1)', () => {
  // A delta costs its text and 96 bytes.
  const UP_TO = OUTBOX_BYTES_MAX - 96
  test('is 256 KB', () => {
    expect(OUTBOX_BYTES_MAX).toBe(262_144)
  })

  test.each([
    ['one byte below it', 'x'.repeat(UP_TO - 1), false],
    ['at it', 'x'.repeat(UP_TO), true],
  ])('%s it is full: %s', async (_where, text, full) => {
    const { outbox } = setUp()
    void outbox.push([delta(text)])
    expect(outbox.full).toBe(full)
  })

  test.each<[string, DriverEvent]>([
    ['thinking', { type: 'ThinkingDelta', runId: RUN, delta: 'x'.repeat(UP_TO) }],
    ['a whole text', { type: 'TextCompleted', runId: RUN, text: 'x'.repeat(UP_TO) }],
    ['a result', { type: 'ToolCompleted', runId: RUN, toolCallId: 'c', toolName: 't', result: 'x'.repeat(UP_TO), isError: false }],
    ['progress', { type: 'ToolProgressed', runId: RUN, toolCallId: 'c', message: 'x'.repeat(UP_TO) }],
  ])('%s counts by its length', (_what, event) => {
    const { outbox } = setUp()
    void outbox.push([event])
    expect(outbox.full).toBe(true)
  })

  test('what is emitted counts, until it is durable', async () => {
    const { outbox, commits } = setUp()
    outbox.emit(delta('x'.repeat(UP_TO)))
    expect(outbox.full).toBe(true)
    await settle(3)
    expect(outbox.full).toBe(true)
    commits[0]?.answer()
    await settle(3)
    expect(outbox.full).toBe(false)
  })

  test('many small events fill it too', () => {
    const { outbox } = setUp()
    for (let pushed = 0; pushed < OUTBOX_BYTES_MAX / 97 - 1; pushed++) void outbox.push([delta('x')])
    expect(outbox.full).toBe(false)
    void outbox.push(deltas(2))
    expect(outbox.full).toBe(true)
  })

  test('drained waits until what is under way is durable', async () => {
    const { outbox, commits } = setUp()
    void outbox.push([delta('x'.repeat(UP_TO))])
    const drained = watched(outbox.drained())
    await settle(3)
    expect(drained.state).toBe('waits')
    commits[0]?.answer()
    await settle(3)
    expect(drained.state).toBe('done undefined')
    expect(outbox.full).toBe(false)
  })

  test('drained goes on waiting while what was pushed meanwhile fills it', async () => {
    const { outbox, commits } = setUp()
    void outbox.push([delta('x')])
    await settle(3)
    void outbox.push([delta('x'.repeat(UP_TO))])
    const drained = watched(outbox.drained())
    commits[0]?.answer()
    await settle(3)
    expect(drained.state).toBe('waits')
    commits[1]?.answer()
    await settle(3)
    expect(drained.state).toBe('done undefined')
  })

  test('drained answers at once where there is room', async () => {
    await expect(setUp().outbox.drained()).resolves.toBeUndefined()
  })
})

describe('the end', () => {
  test('the last write goes out when all before it are durable', async () => {
    const { outbox, commits } = setUp()
    void outbox.push(deltas(1))
    const last = watched(outbox.commitLast(FINISH).then(({ kind }) => kind))
    await settle(3)
    expect(commits).toHaveLength(1)
    commits[0]?.answer()
    await settle(3)
    expect(commits[1]?.write).toBe(FINISH)
    commits[1]?.answer()
    await settle(3)
    expect(last.state).toBe('done appended')
  })

  test('a refused last write leaves the outbox open', async () => {
    const { outbox, commits } = setUp()
    const last = outbox.commitLast(FINISH)
    await settle(1)
    commits[0]?.answer({ kind: 'refused', code: 'input_pending', message: 'a message arrived' })
    expect(await last).toMatchObject({ kind: 'refused', code: 'input_pending' })
    const pushed = watched(outbox.push(deltas(1)))
    await settle(3)
    commits[1]?.answer()
    await settle(3)
    expect(pushed.state).toBe('done 1')
  })
})

describe('after a write was lost (O2, P4)', () => {
  test('refused: nothing more is written, but the run may be ended', async () => {
    const { outbox, commits } = setUp()
    const lost = watched(outbox.push(deltas(1)))
    await settle(3)
    commits[0]?.answer({ kind: 'refused', code: 'internal_error', message: 'no event' })
    await settle(3)
    const later = watched(outbox.push(deltas(1)))
    const last = watched(outbox.commitLast(FINISH).then(({ kind }) => kind))
    await settle(3)
    commits[1]?.answer()
    await settle(3)
    expect([lost.state, later.state, last.state]).toEqual(['failed no event', 'failed no event', 'done appended'])
    expect(commits).toHaveLength(2)
  })

  test.each<[string, (commit: ReturnType<typeof setUp>['commits'][number] | undefined) => void, string]>([
    ['fenced', (commit) => commit?.answer({ kind: 'fenced' }), 'failed fenced'],
    ['thrown', (commit) => commit?.fail(new Error('disk')), 'failed disk'],
  ])('%s: everything that waits and everything after it is refused with that reason, and nothing more is written', async (_what, lose, reason) => {
    const { outbox, commits } = setUp()
    const lost = watched(outbox.push(deltas(1)))
    await settle(3)
    const waiting = watched(outbox.push([delta('x'.repeat(OUTBOX_BYTES_MAX))]))
    const drained = watched(outbox.drained())
    lose(commits[0])
    await settle(3)
    outbox.emit(delta('x'.repeat(OUTBOX_BYTES_MAX)))
    const later = watched(outbox.push(deltas(1)))
    const last = watched(outbox.commitLast(FINISH))
    await settle(3)
    expect([lost.state, waiting.state, later.state, last.state]).toEqual([reason, reason, reason, reason])
    expect(drained.state).toBe('done undefined')
    expect(commits).toHaveLength(1)
  })
})
