import { describe, expect, test } from 'vitest'
import type { SessionCommand } from '../domain/command.ts'
import type { Principal } from '../domain/principal.ts'
import type { Store, Write, WriteOutcome } from '../log/store.ts'
import { ConvokeError } from '../domain/errors.ts'
import { runId, sessionId, userId } from '../domain/ids.ts'
import { USER_SCOPES } from '../domain/principal.ts'
import { Hub } from '../stream/hub.ts'
import { arrayLog } from '../testing/array-log.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { Committer } from './committer.ts'
import { COMMANDS_MAX, createCommandService } from './service.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const S1 = sessionId('s1')
const COMMAND: SessionCommand = { type: 'CancelRun', runId: runId('r1') }
const APPENDED: WriteOutcome = {
  kind: 'appended',
  stream: S1,
  from: 4,
  to: 6,
  feed: 9,
  events: [],
  atMs: 1,
  owner: ALICE.user,
  reply: { runId: runId('r1'), cancel: 'cancelling' },
  replayed: false,
}
const IDEMPOTENCY = { scope: 'alice POST /x', key: 'k', fingerprint: 'f' }

/** A service whose store answers each commit when, and as, the test says. */
function setUp() {
  const commits: { readonly writes: readonly Write[]; answer(outcomes: readonly WriteOutcome[]): void; fail(error: Error): void }[] = []
  const store: Store = {
    ...arrayLog(),
    commit: (writes) => new Promise((answer, fail) => commits.push({ writes, answer, fail })),
    unfinishedRuns: async () => [],
    pruneIdempotency: async () => 0,
    close: async () => undefined,
  }
  const clock = manualClock(5000)
  const committer = new Committer(store, new Hub())
  const service = createCommandService(committer, clock)
  const last = () => {
    const commit = commits.at(-1)
    if (commit === undefined) throw new Error('nothing was committed')
    return commit
  }
  return { commits, clock, committer, service, last, execute: () => service.execute(S1, COMMAND, ALICE) }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('a command', () => {
  test('becomes one write, with who asks, the time, and the key if there is one', () => {
    const { service, clock, last, execute } = setUp()
    void execute()
    expect(last().writes).toEqual([{ kind: 'decide', stream: 's1', command: COMMAND, asker: ALICE, atMs: 5000 }])
    clock.advance(7)
    void service.execute(S1, COMMAND, ALICE, IDEMPOTENCY)
    expect(last().writes).toEqual([{ kind: 'decide', stream: 's1', command: COMMAND, asker: ALICE, atMs: 5007, idempotency: IDEMPOTENCY }])
  })

  test('is answered when it is durable, and not before (P1)', async () => {
    const { last, execute } = setUp()
    let answered = false
    const result = execute().then((value) => {
      answered = true
      return value
    })
    await turn()
    expect(answered).toBe(false)
    last().answer([APPENDED])
    expect(await result).toEqual({ stream: 's1', from: 4, to: 6, reply: { runId: 'r1', cancel: 'cancelling' }, replayed: false })
  })

  test('that was given before is answered as the first one was: a creation names the first session', async () => {
    const { last, execute } = setUp()
    const result = execute()
    last().answer([{ ...APPENDED, stream: sessionId('first'), replayed: true }])
    expect(await result).toMatchObject({ stream: 'first', replayed: true })
  })
})

describe('a command that has no effect', () => {
  test.each([
    ['not_found', 'session not found'],
    ['queue_full', '64 messages wait already'],
    ['idempotency_key_reused', 'this idempotency key was used with another body'],
  ] as const)('says why: %s', async (code, message) => {
    const { last, execute } = setUp()
    const result = execute()
    last().answer([{ kind: 'refused', code, message }])
    const error = await result.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ConvokeError)
    expect(error).toMatchObject({ code, message })
  })

  test.each<[string, readonly WriteOutcome[]]>([
    ['fenced, which no request can be', [{ kind: 'fenced' }]],
    ['without an outcome', []],
  ])('is our fault when it is %s', async (_what, outcomes) => {
    const { last, execute } = setUp()
    const result = execute()
    last().answer(outcomes)
    await expect(result).rejects.toMatchObject({ code: 'internal_error' })
  })

  test('passes on what the store throws: whether it took effect is unknown', async () => {
    const { last, execute } = setUp()
    const result = execute()
    const failure = new ConvokeError('store_unknown', 'the disk is gone')
    last().fail(failure)
    await expect(result).rejects.toBe(failure)
  })
})

describe('commands under way', () => {
  test('are at most 4096: the next one is refused at once, and told when to come again', async () => {
    expect(COMMANDS_MAX).toBe(4096)
    const { commits, service, execute } = setUp()
    for (let count = 0; count < 4096; count++) void execute()
    expect(commits).toHaveLength(4096)
    await expect(service.execute(S1, COMMAND, ALICE)).rejects.toMatchObject({ code: 'overloaded', retryAfterMs: 1000 })
    expect(commits).toHaveLength(4096)
  })

  test.each<[string, (commit: ReturnType<ReturnType<typeof setUp>['last']>) => void]>([
    ['was done', (commit) => commit.answer([APPENDED])],
    ['was refused', (commit) => commit.answer([{ kind: 'refused', code: 'not_found', message: '' }])],
    ['failed', (commit) => commit.fail(new Error('disk'))],
  ])('make place for exactly one when one of them %s', async (_what, end) => {
    const { commits, last, execute } = setUp()
    for (let count = 0; count < 4095; count++) void execute()
    const ending = execute()
    end(last())
    await ending.catch(() => undefined)
    void execute()
    expect(commits).toHaveLength(4097)
    await expect(execute()).rejects.toMatchObject({ code: 'overloaded' })
  })

  test('do not hold up what runs write themselves', async () => {
    const { commits, committer, execute } = setUp()
    for (let count = 0; count < 4096; count++) void execute()
    void committer.commit([])
    expect(commits).toHaveLength(4097)
    await expect(execute()).rejects.toMatchObject({ code: 'overloaded' })
  })
})
