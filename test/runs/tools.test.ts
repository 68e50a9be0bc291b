import { describe, expect, test } from 'vitest'
import { settle } from '../../src/testing/run-kit.ts'
import { askTools, toolCall, type Line } from '../../src/testing/scripted-model.ts'
import { aborted, scriptedTool, type ScriptedToolOptions } from '../../src/testing/scripted-tool.ts'
import { END, ENGINES, rig } from './rig.ts'

const asks = (...calls: readonly (readonly [string, string])[]): readonly Line[] => [...calls.map(([id, name]) => toolCall(id, name)), askTools()]

/** Tools whose calls end when the test says so. */
function gated(...names: readonly string[]) {
  const gates = new Map<string, (output: string) => void>()
  const tool = (name: string, more: ScriptedToolOptions) =>
    scriptedTool(name, { ...more, run: ({ toolCallId }) => new Promise<string>((resolve) => gates.set(toolCallId, resolve)) })
  return {
    tools: names.map((name) => tool(name, { parallelSafe: name.startsWith('look') })),
    end: (id: string) => {
      const gate = gates.get(id)
      if (gate === undefined) throw new Error(`${id} does not run`)
      gates.delete(id)
      gate(`out ${id}`)
    },
    running: () => [...gates.keys()],
  }
}

describe.each(ENGINES)('calls of one turn over %s', (engine) => {
  test('parallel-safe ones run side by side, the others one after the other, in order', async () => {
    const { tools, end, running } = gated('look', 'act')
    const script = [asks(['l1', 'look'], ['l2', 'look'], ['a1', 'act'], ['a2', 'act'], ['l3', 'look']), END]
    const r = await rig({ engine, script, tools })
    await r.send('hi')
    await r.until('ToolStarted', 2)
    await settle()
    expect(running()).toEqual(['l1', 'l2'])
    end('l2')
    await r.until('ToolCompleted', 1)
    await settle()
    expect(running()).toEqual(['l1'])
    end('l1')
    for (const id of ['a1', 'a2', 'l3']) {
      const before = (await r.events('ToolStarted')).length
      await r.until('ToolStarted', before + (running().length === 0 ? 1 : 0))
      await settle()
      expect(running()).toEqual([id])
      end(id)
      await settle()
    }
    await r.ended()
    expect((await r.events('ToolCompleted')).map(({ toolCallId }) => toolCallId)).toEqual(['l2', 'l1', 'a1', 'a2', 'l3'])
    const results = r.models.seen[1]?.messages.filter(({ role }) => role === 'tool')
    expect(results).toHaveLength(5)
  })
})

describe('side by side', () => {
  test('at most eight calls run, the others follow', async () => {
    const { tools, end, running } = gated('look')
    const ids = Array.from({ length: 11 }, (_, index) => `l${index}`)
    const r = await rig({ script: [asks(...ids.map((id) => [id, 'look'] as const)), END], tools })
    await r.send('hi')
    await settle()
    expect(running()).toEqual(ids.slice(0, 8))
    for (const id of ids.slice(0, 8)) end(id)
    await settle()
    expect(running()).toEqual(ids.slice(8))
    for (const id of ids.slice(8)) end(id)
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
  })
})

describe('the record of a call', () => {
  test('its start is durable before it does anything, its result before the model is called again', async () => {
    const at: string[] = []
    const note = async (what: string) => {
      const kept = (await r.log()).flatMap(({ event }) => (event.type === 'ToolStarted' || event.type === 'ToolCompleted' ? [event.type] : []))
      at.push([what, ...kept].join(' '))
    }
    const act = scriptedTool('act', { intent: { groupId: 7, startTicks: 9 }, opened: () => void at.push('open'), run: async () => (await note('run'), 'ok') })
    const r = await rig({ script: (_request, call) => (call === 0 ? asks(['c1', 'act']) : [note('model'), ...END]), tools: [act] })
    await r.send('hi')
    await r.ended()
    expect(at).toEqual(['open', 'run ToolStarted', 'model ToolStarted ToolCompleted'])
    expect(await r.events('ToolStarted')).toEqual([
      { type: 'ToolStarted', runId: r.run, toolCallId: 'c1', toolName: 'act', attempt: 1, intent: { groupId: 7, startTicks: 9 } },
    ])
  })

  test('a call is given its session, its run, its folders and its own id', async () => {
    const given: unknown[] = []
    const act = scriptedTool('act', {
      run: ({ sessionId, runId, toolCallId, workspace, outputFolder }, args) => {
        given.push({ sessionId, runId, toolCallId, workspace, outputFolder }, args)
        return 'ok'
      },
    })
    const r = await rig({ script: [[toolCall('c1', 'act', { x: 1 }), askTools()], END], tools: [act] })
    await r.send('hi')
    await r.ended()
    expect(given).toEqual([{ sessionId: r.id, runId: r.run, toolCallId: 'c1', workspace: '/nowhere', outputFolder: '/nowhere' }, { x: 1 }])
  })

  test('a result keeps its file, and a new todo list follows it', async () => {
    const todos = [{ id: '1', text: 'do it', status: 'pending' }] as const
    const act = scriptedTool('act', { run: async () => ({ output: 'cut', isError: false, outputFile: '/out/1', todos }) })
    const r = await rig({ script: [asks(['c1', 'act']), END], tools: [act] })
    await r.send('hi')
    await r.ended()
    const log = (await r.log()).map(({ event }) => event)
    const at = log.findIndex(({ type }) => type === 'ToolCompleted')
    expect(log[at]).toMatchObject({ result: 'cut', isError: false, outputFile: '/out/1' })
    expect(log[at + 1]).toEqual({ type: 'TodosUpdated', runId: r.run, todos })
  })

  test('progress stands between start and result, in order; what is too much is dropped, the result is not', async () => {
    const act = scriptedTool('act', {
      run: (context) => {
        for (let line = 1; line <= 510; line++) context.progress(`line ${line}`)
        return 'all'
      },
    })
    const r = await rig({ script: [asks(['c1', 'act']), END], tools: [act] })
    await r.send('hi')
    await r.ended()
    const progress = await r.events('ToolProgressed')
    expect(progress.map(({ message }) => message)).toEqual(Array.from({ length: 500 }, (_, index) => `line ${index + 1}`))
    expect((await r.events('ToolCompleted'))[0]).toMatchObject({ result: 'all' })
  })
})

describe('a call that goes wrong is an error for the model, and the run goes on', () => {
  const boom = () => {
    throw new Error('boom')
  }
  test.each<[string, ScriptedToolOptions | undefined, string, boolean]>([
    ['an unknown tool', undefined, 'there is no tool act', false],
    ['arguments that the tool refuses', { check: () => 'x: expected a number' }, 'the arguments are not valid: x: expected a number', false],
    ['a tool that cannot start', { opened: boom }, 'the tool could not start: boom', false],
    ['a tool that throws', { run: boom }, 'the tool failed: boom', true],
    ['a tool that throws later', { run: async () => boom() }, 'the tool failed: boom', true],
    ['a tool that says so', { run: async () => ({ output: 'no such file', isError: true }) }, 'no such file', true],
  ])('%s', async (_what, options, result, started) => {
    const tool = options === undefined ? scriptedTool('other') : scriptedTool('act', options)
    const r = await rig({ script: [asks(['c1', 'act']), END], tools: [tool] })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ stopReason: 'completed', totalTurns: 2 })
    expect(await r.events('ToolCompleted')).toEqual([{ type: 'ToolCompleted', runId: r.run, toolCallId: 'c1', toolName: 'act', result, isError: true }])
    expect(await r.events('ToolStarted')).toHaveLength(started ? 1 : 0)
    expect(tool.left).toBe(0)
  })

  test('arguments that are no JSON', async () => {
    const act = scriptedTool('act')
    const bad = { ...toolCall('c1', 'act', '{"x'), invalid: 'unexpected end' } as Line
    const r = await rig({ script: [[bad, askTools()], END], tools: [act], policy: { mode: 'none', rules: {}, default: 'ask' } })
    await r.send('hi')
    await r.ended()
    expect(await r.events('ToolCompleted')).toMatchObject([{ result: 'the arguments are not valid: unexpected end', isError: true }])
    expect(await r.events('ApprovalRequested')).toEqual([])
    expect(act.runs.size).toBe(0)
  })

  test('nobody is asked for a call that cannot run', async () => {
    const r = await rig({ script: [asks(['c1', 'none']), END], policy: { mode: 'none', rules: {}, default: 'ask' } })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
    expect((await r.events('ToolCallsProposed'))[0]?.calls).toMatchObject([{ id: 'c1', disposition: 'approve' }])
  })
})

describe('time', () => {
  test('a call that takes too long is stopped at its time, not a moment earlier', async () => {
    const act = scriptedTool('act', {
      timeoutMs: 5000,
      async run({ signal }) {
        await aborted(signal)
        throw new Error('killed')
      },
    })
    const r = await rig({ script: [asks(['c1', 'act']), END], tools: [act] })
    await r.send('hi')
    await settle()
    r.clock.advance(4999)
    await settle()
    expect(act.running).toEqual(['c1'])
    r.clock.advance(1)
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
    expect(await r.events('ToolCompleted')).toMatchObject([{ result: expect.stringMatching(/failed|stopped/), isError: true }])
    expect(act.left).toBe(0)
  })

  test('a call that ended in time leaves no timer', async () => {
    const r = await rig({ script: [asks(['c1', 'act']), END], tools: [scriptedTool('act')] })
    const timers = r.clock.pending
    await r.send('hi')
    await r.ended()
    await settle()
    expect(r.clock.pending).toBe(timers)
  })

  test('a call whose time was over before it could begin is not begun', async () => {
    const act = scriptedTool('act', { timeoutMs: 1000, opened: () => r.clock.advance(1000) })
    const r = await rig({ script: [asks(['c1', 'act']), END], tools: [act] })
    await r.send('hi')
    await r.ended()
    expect(await r.events('ToolCompleted')).toMatchObject([{ result: 'the tool was stopped after 1000 ms', isError: true }])
    expect(act.runs.size).toBe(0)
  })
})
