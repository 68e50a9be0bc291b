/** How commands die: with their call, with their group, with the server. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { RunId, SessionId } from '../domain/ids.ts'
import type { ToolContext, ToolIntent } from '../domain/tool.ts'
import { systemClock } from '../system/clock.ts'
import { bashTool } from './bash.ts'
import { endGroup, killGroup, startTicks } from './guardian/group.ts'
import { toolEnvironment } from './registry.ts'

const env = toolEnvironment(process.env)
const tool = bashTool({ env, clock: systemClock })
/** A command that ignores polite signals, with a child and a grandchild; it names all three. */
const STUBBORN = `trap '' TERM INT HUP; sleep 1000 & child=$!; bash -c 'sleep 1000 & echo '$$' '$child' $!; wait' & wait`
let folder: string
let context: ToolContext
let stop: AbortController
let said: Promise<string>

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-bash-end-'))
  mkdirSync(join(folder, 'out'))
  stop = new AbortController()
  const first = Promise.withResolvers<string>()
  said = first.promise
  const ids = { sessionId: 's' as SessionId, runId: 'r' as RunId, toolCallId: 'call_1' }
  context = { ...ids, workspace: folder, outputFolder: join(folder, 'out'), signal: stop.signal, progress: first.resolve }
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Whether a process runs; one that only waits to be reaped does not. */
function runs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z'
  } catch {
    return false
  }
}

async function expectGone(...pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    expect(pid).toBeGreaterThan(1)
    await expect.poll(() => runs(pid), { interval: 5, timeout: 10_000, message: `process ${pid} is gone` }).toBe(false)
  }
}

async function start(command: string, given: ToolContext = context) {
  const call = await tool.open({ command }, given)
  return { call, intent: call.intent as ToolIntent, answer: call.run() }
}

const pidsOf = (line: string) => line.trim().split(/\s+/).map(Number)

test.each([
  ['the time-out', new Error('the tool took too long'), '[stopped: the tool took too long]'],
  ['a cancel', 'whatever', '[stopped: cancelled]'],
])('%s kills the whole group at once, grandchildren too', async (_what, reason, output) => {
  const { call, intent, answer } = await start(STUBBORN)
  const pids = pidsOf(await said)
  expect(pids).toHaveLength(3)
  for (const pid of [intent.groupId, ...pids]) expect(runs(pid)).toBe(true)
  const abortedMs = performance.now()
  stop.abort(reason)
  const result = await answer
  // The promise is 200 ms; the margin is for a machine that is busy with other tests.
  expect(performance.now() - abortedMs).toBeLessThan(2000)
  expect(result).toEqual({ output: `${pids.join(' ')}\n${output}`, isError: true })
  await expectGone(intent.groupId, ...pids)
  await call.close()
})

test('a call that is aborted before it runs does nothing', async () => {
  const call = await tool.open({ command: 'touch made' }, context)
  stop.abort(new Error('cancelled early'))
  expect(await call.run()).toEqual({ output: '[stopped: cancelled early]', isError: true })
  await call.close()
  await expectGone(call.intent?.groupId ?? 0)
  expect(existsSync(join(folder, 'made'))).toBe(false)
})

test('a call that is opened has done nothing, and closing it ends its guardian', async () => {
  const call = await tool.open({ command: 'touch made' }, context)
  const { groupId, startTicks: ticks } = call.intent as ToolIntent
  expect(runs(groupId)).toBe(true)
  expect(ticks).toBe(startTicks(groupId))
  await call.close()
  await expectGone(groupId)
  expect(existsSync(join(folder, 'made'))).toBe(false)
})

test('what a command leaves in the background ends with it, and what it had said is kept', async () => {
  const { call, intent, answer } = await start('mkfifo gate; sleep 1000 & echo $!; (echo from below; echo > gate; exec sleep 1000) & read < gate; echo end')
  const { output, isError } = await answer
  const [pid = '', ...rest] = output.split('\n')
  expect(rest.toSorted()).toEqual(['end', 'from below'])
  expect(isError).toBe(false)
  await expectGone(Number(pid), intent.groupId)
  await call.close()
})

test('a process that left the group does not hold the answer up', async () => {
  const { call, answer } = await start(`mkfifo gate; setsid bash -c 'echo $$; echo > gate; exec sleep 1000' & read < gate; echo end`)
  const { output, isError } = await answer
  const [pid = ''] = output.split('\n')
  expect({ output, isError }).toEqual({ output: `${pid}\nend`, isError: false })
  await call.close()
  // It is out of reach of the tool: the test ends it by its own number.
  expect(runs(Number(pid))).toBe(true)
  process.kill(Number(pid), 'SIGKILL')
})

test('a process that left the group does not hold a cancel up', async () => {
  const { call, answer } = await start(`setsid bash -c 'echo $$; exec sleep 1000' & wait`)
  const [pid = 0] = pidsOf(await said)
  stop.abort(new Error('stop'))
  expect(await answer).toEqual({ output: `${pid}\n[stopped: stop]`, isError: true })
  await call.close()
  process.kill(pid, 'SIGKILL')
})

test('a command that kills its guardian ends as killed, with its group', async () => {
  const { call, intent, answer } = await start('sleep 1000 & echo $!; kill -9 $PPID; sleep 1000')
  const { output, isError } = await answer
  const [pid = ''] = output.split('\n')
  expect({ output, isError }).toEqual({ output: `${pid}\n[ended by SIGKILL]`, isError: true })
  await expectGone(Number(pid), intent.groupId)
  await call.close()
})

test('an abort after the answer changes nothing', async () => {
  const { call, answer } = await start('echo done')
  expect(await answer).toEqual({ output: 'done', isError: false })
  stop.abort()
  await call.close()
})

test('a workspace that is gone is a clear failure of opening', async () => {
  const gone = { ...context, workspace: join(folder, 'gone') }
  await expect(tool.open({ command: 'true' }, gone)).rejects.toMatchObject({ code: 'ENOENT' })
})

/** A server of its own: a process that runs (or only opens) one call and tells the numbers of what it started. */
async function startServer(
  step: 'runs' | 'opens',
): Promise<{ readonly pid: number; readonly kill: (signal: NodeJS.Signals) => Promise<void>; readonly pids: readonly number[] }> {
  const program = join(folder, 'server.ts')
  const at = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
  const options = `{ workspace: ${JSON.stringify(folder)}, outputFolder: ${JSON.stringify(join(folder, 'out'))}, toolCallId: 'c', signal: new AbortController().signal, progress: (line) => console.log(id + ' ' + line.trim()) }`
  writeFileSync(
    program,
    `import { bashTool } from ${at('./bash.ts')}
     import { systemClock } from ${at('../system/clock.ts')}
     let id = 0
     const call = await bashTool({ env: ${JSON.stringify(env)}, clock: systemClock }).open({ command: ${JSON.stringify(STUBBORN)} }, ${options})
     id = call.intent.groupId
     if (${step === 'opens'}) console.log(String(id))
     else await call.run()
     setInterval(() => undefined, 1000)`,
  )
  const child = spawn(process.execPath, ['--no-warnings', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return { pid: child.pid ?? 0, pids: pidsOf(line), kill: async (signal) => void (child.kill(signal), await exited) }
}

test.each([
  ['is killed while a command runs', 'runs', 'SIGKILL', 4],
  ['ends while a command runs', 'runs', 'SIGTERM', 4],
  ['is killed before the command runs', 'opens', 'SIGKILL', 1],
] as const)('when the server %s, the guardian takes the whole group with it', async (_when, step, signal, count) => {
  const server = await startServer(step)
  expect(server.pids).toHaveLength(count)
  for (const pid of server.pids) expect(runs(pid)).toBe(true)
  await server.kill(signal)
  await expectGone(...server.pids)
})

test('a later process ends what an earlier one left, once', async () => {
  const { call, intent, answer } = await start(STUBBORN)
  const pids = pidsOf(await said)
  expect(killGroup(intent)).toBe(true)
  await expectGone(intent.groupId, ...pids)
  expect((await answer).isError).toBe(true)
  // Until it is reaped, a dead process still has its number and its start.
  await expect.poll(() => startTicks(intent.groupId), { interval: 5, timeout: 10_000 }).toBe(0)
  expect(killGroup(intent)).toBe(false)
  await call.close()
})

test('a later process ends the whole group by itself, also when the earlier one stands still', async () => {
  const server = await startServer('runs')
  process.kill(server.pid, 'SIGSTOP')
  const [groupId = 0] = server.pids
  expect(killGroup({ groupId, startTicks: startTicks(groupId) })).toBe(true)
  await expectGone(...server.pids)
  await server.kill('SIGKILL')
})

describe('a group whose guardian died first', () => {
  /** A command that runs on in a group without its guardian; the server stands still, and sees nothing. */
  async function orphanedGroup() {
    const server = await startServer('runs')
    process.kill(server.pid, 'SIGSTOP')
    const [groupId = 0, ...pids] = server.pids
    const intent = { groupId, startTicks: startTicks(groupId) }
    process.kill(groupId, 'SIGKILL')
    await server.kill('SIGKILL')
    // Until it is reaped, a dead process still names its group.
    await expect.poll(() => startTicks(groupId), { interval: 5, timeout: 10_000 }).toBe(0)
    return { intent, pids, [Symbol.dispose]: () => void killGroup(intent) }
  }

  test('is ended by a later process, and is gone when that goes on', async () => {
    using group = await orphanedGroup()
    expect(group.pids.map(runs)).toEqual(group.pids.map(() => true))
    await endGroup(group.intent, systemClock)
    expect(group.pids.map(runs)).toEqual(group.pids.map(() => false))
    expect(killGroup(group.intent)).toBe(false)
  })

  test('is left alone where it carries another mark: the number was given anew', async () => {
    using group = await orphanedGroup()
    expect(killGroup({ ...group.intent, startTicks: group.intent.startTicks - 1 })).toBe(false)
    expect(group.pids.map(runs)).toEqual(group.pids.map(() => true))
  })
})

test('a group whose number belongs to another process by now is left alone', async () => {
  const call = await tool.open({ command: 'true' }, context)
  const { groupId, startTicks: ticks } = call.intent as ToolIntent
  for (const other of [ticks - 1, ticks + 1, 0]) expect(killGroup({ groupId, startTicks: other })).toBe(false)
  expect(runs(groupId)).toBe(true)
  await call.close()
})

test.each([0, 1, -1, -2, 2 ** 30])('the number %i names no group of ours', (groupId) => {
  expect(killGroup({ groupId, startTicks: startTicks(groupId) })).toBe(false)
  expect(killGroup({ groupId, startTicks: 5 })).toBe(false)
})

test('a start time is read past any name of a process', async () => {
  const odd = join(folder, 'a) R 1 2 (b')
  symlinkSync('/bin/sleep', odd)
  const child = spawn(odd, ['1000'], { stdio: 'ignore' })
  await once(child, 'spawn')
  const pid = child.pid ?? 0
  const later = startTicks(pid) - startTicks(process.pid)
  child.kill('SIGKILL')
  await once(child, 'exit')
  // Both are counted since the same boot, a hundred to the second.
  expect(later).toBeGreaterThanOrEqual(0)
  expect(later).toBeLessThan(100 * 3600)
  expect(startTicks(pid)).toBe(0)
})
