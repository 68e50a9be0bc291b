import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Write, WriteOutcome } from '../../log/store.ts'
import { sessionId } from '../../domain/ids.ts'
import { create, deltas, freshId } from '../../testing/writes.ts'
import { WRITES_MAX } from '../../log/store.ts'
import { CommitGroup } from './group.ts'

/** A writer that keeps what it is given and answers when it is told to. */
function heldWriter() {
  const commits: (readonly Write[])[] = []
  const releases: ((error?: Error) => void)[] = []
  const commit = (writes: readonly Write[]) => {
    commits.push(writes)
    return new Promise<readonly WriteOutcome[]>((resolve, reject) => {
      const outcomes = writes.map((write): WriteOutcome => ({ kind: 'refused', code: 'not_found', message: nameOf(write) }))
      releases.push((error) => (error === undefined ? resolve(outcomes) : reject(error)))
    })
  }
  return { commits, releases, group: new CommitGroup(commit) }
}

const nameOf = (write: Write) => `${write.kind} ${write.stream} ${write.atMs}`
let count = 0
const numbered = (write: Write): Write => ({ ...write, atMs: ++count })
const command = (stream: string) => numbered(create(sessionId(stream)))
const record = (stream: string) => numbered(deltas(sessionId(stream), freshId(), 1, 1))
const [A, B] = [freshId(), freshId()]
/** Lets what is due in this turn of the loop happen. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('calls of one turn of the loop go together, later ones in the next commit', async () => {
  const { group, commits, releases } = heldWriter()
  const first = [group.add([command(A)]), group.add([command(B)])]
  await turn()
  const later = [group.add([command(A)]), group.add([command(B)])]
  await turn()
  expect(commits.map((writes) => writes.length)).toEqual([2])
  releases[0]?.()
  await Promise.all(first)
  await turn()
  expect(commits.map((writes) => writes.length)).toEqual([2, 2])
  releases[1]?.()
  await Promise.all(later)
})

test('commands go before records of other streams (G1)', async () => {
  const { group, commits } = heldWriter()
  const writes = [record(A), record(A), command(B), command(B)]
  for (const write of writes) void group.add([write])
  await turn()
  expect(commits[0]).toEqual([writes[2], writes[3], writes[0], writes[1]])
})

test('a command waits behind a record of its own stream, and what follows it on that stream behind it (G1)', async () => {
  const { group, commits } = heldWriter()
  const writes = [record(A), command(A), command(B), record(A), command(A)]
  for (const write of writes) void group.add([write])
  await turn()
  expect(commits[0]).toEqual([writes[2], writes[0], writes[1], writes[3], writes[4]])
})

test('a failed commit fails its callers, and the next one goes on', async () => {
  const { group, releases } = heldWriter()
  const failed = group.add([command(A)])
  const caught = expect(failed).rejects.toThrow('disk')
  await turn()
  const next = group.add([command(A)])
  releases[0]?.(new Error('disk'))
  await caught
  await turn()
  releases[1]?.()
  expect(await next).toHaveLength(1)
})

test('a commit takes no more than its bound, unless one call alone is larger', async () => {
  const { group, commits, releases } = heldWriter()
  const half = Array.from({ length: WRITES_MAX / 2 }, () => command(A))
  for (const writes of [half, half, [command(A)], [...half, ...half, ...half], [command(B)]]) void group.add(writes)
  for (let index = 0; index < 4; index++) {
    await turn()
    releases[index]?.()
  }
  await group.idle()
  expect(commits.map((writes) => writes.length)).toEqual([WRITES_MAX, 1, WRITES_MAX * 1.5, 1])
})

test('idle is when nothing waits any more', async () => {
  const { group, releases } = heldWriter()
  await group.idle()
  void group.add([command(A)])
  await turn()
  void group.add([command(A)])
  let idle = false
  const over = group.idle().then(() => (idle = true))
  releases[0]?.()
  await turn()
  expect(idle).toBe(false)
  releases[1]?.()
  await over
})

test('each caller gets its own outcomes, and each stream keeps its order, for any calls (G1, G2)', async () => {
  const streams = [freshId(), freshId(), freshId()]
  const anyWrite = fc.record({ stream: fc.constantFrom(...streams), isCommand: fc.boolean() })
  const anyCalls = fc.array(fc.record({ writes: fc.array(anyWrite, { minLength: 1, maxLength: 3 }), waits: fc.boolean() }), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(anyCalls, async (calls) => {
      const committed: Write[] = []
      const group = new CommitGroup(async (writes) => {
        await turn()
        committed.push(...writes)
        return writes.map((write): WriteOutcome => ({ kind: 'refused', code: 'not_found', message: nameOf(write) }))
      })
      const sent: Write[][] = []
      const answers: Promise<readonly WriteOutcome[]>[] = []
      for (const { writes, waits } of calls) {
        const made = writes.map(({ stream, isCommand }) => (isCommand ? command(stream) : record(stream)))
        sent.push(made)
        answers.push(group.add(made))
        if (waits) await turn()
      }
      const outcomes = await Promise.all(answers)
      expect(outcomes.map((list) => list.map((outcome) => outcome.kind === 'refused' && outcome.message))).toEqual(sent.map((made) => made.map(nameOf)))
      for (const stream of streams) {
        const of = (list: readonly Write[]) => list.filter((write) => write.stream === stream).map(nameOf)
        const [asked, done] = [of(sent.flat()), of(committed)]
        expect(done).toEqual(asked)
      }
    }),
    { numRuns: 100 },
  )
})
