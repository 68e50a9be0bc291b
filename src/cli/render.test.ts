import { describe, expect, test } from 'vitest'
import type { ClientEvent } from '../client/index.ts'
import { describeCall, Renderer } from './render.ts'

const event = (name: string, payload: ClientEvent['payload'] = {}): ClientEvent => ({ position: 1, name, runId: 'r', timestamp: 't', payload })
const text = (delta: string) => event('text_delta', { delta })
const thinking = (delta: string) => event('thinking_delta', { delta })

function render(events: readonly ClientEvent[], ansi = false): string {
  const renderer = new Renderer({ ansi })
  return events.map((one) => renderer.render(one)).join('')
}

const dim = (words: string) => `\u001B[2m${words}\u001B[22m`
const bold = (words: string) => `\u001B[1m${words}\u001B[22m`

describe('each event', () => {
  const calls = [
    { id: '1', name: 'bash', arguments: { command: 'ls -la' } },
    { id: '2', name: 'write', arguments: { path: 'a', content: 'b\n' } },
  ]
  test.each<[string, ClientEvent['payload'], string, string]>([
    ['text_delta', { delta: 'hello' }, 'hello', 'hello'],
    ['thinking_delta', { delta: 'hm' }, 'hm', dim('hm')],
    [
      'tool_calls_proposed',
      { tool_calls: calls },
      '→ bash: ls -la\n→ write: {"path":"a","content":"b\\n"}\n',
      `${bold('→ bash: ls -la')}\n${bold('→ write: {"path":"a","content":"b\\n"}')}\n`,
    ],
    ['tool_calls_proposed', { tool_calls: 'nonsense' }, '', ''],
    ['tool_execution_completed', { result: 'done', is_error: false }, '✓ done\n', `${dim('✓ done')}\n`],
    ['tool_execution_completed', { result: 'no', is_error: true }, '✗ no\n', `${dim('✗ no')}\n`],
    ['tool_rejected', { tool_name: 'bash', reason: 'not today' }, '✗ bash: not today\n', `${dim('✗ bash: not today')}\n`],
    ['retry_attempt', { reason: 'busy', delay_ms: 1500 }, '… busy; trying again in 1.5 s\n', `${dim('… busy; trying again in 1.5 s')}\n`],
    ['retry_attempt', { reason: 'cut off', delay_ms: 0 }, '… cut off; trying again\n', `${dim('… cut off; trying again')}\n`],
    ['run_completed', { stop_reason: 'completed' }, '', ''],
    ['run_completed', { stop_reason: 'cancelled' }, '[cancelled]\n', `${dim('[cancelled]')}\n`],
    ['run_completed', { stop_reason: 'max_turns' }, '[max_turns]\n', `${dim('[max_turns]')}\n`],
    ['run_error', { error: 'broken' }, 'error: broken\n', 'error: broken\n'],
  ])('%s with %j', (name, payload, plain, coloured) => {
    expect(render([event(name, payload)])).toBe(plain)
    expect(render([event(name, payload)], true)).toBe(coloured)
  })

  test.each(
    [
      ['run_started', 'turn_started', 'text_complete', 'turn_completed', 'usage_report', 'waiting_for_tool_approval', 'tool_execution_started'],
      ['tool_execution_progress', 'message_added', 'message_queued', 'approval_decided', 'session_created', 'session_updated', 'session_deleted'],
      ['session_assigned', 'model_changed', 'todos_updated', 'run_claimed', 'cancel_requested', 'gap_detected', 'unknown', 'something_new'],
    ].flat(),
  )('%s shows nothing, and breaks no text', (name) => {
    expect(render([text('one '), event(name), text('two')])).toBe('one two')
  })
})

describe('blocks', () => {
  test.each<[string, readonly ClientEvent[], string]>([
    ['text that follows text goes on', [text('a'), text('b')], 'ab'],
    ['text after thinking begins a line', [thinking('a'), thinking('b'), text('c')], 'ab\nc'],
    ['thinking after text begins a line', [text('a'), thinking('b')], 'a\nb'],
    [
      'a call ends the line before it',
      [text('a'), event('tool_calls_proposed', { tool_calls: [{ id: '1', name: 'x', arguments: {} }] }), text('b')],
      'a\n→ x: {}\nb',
    ],
    ['an answer ends with its line', [text('a'), event('run_completed', { stop_reason: 'completed' }), text('b')], 'a\nb'],
    ['two results stand on two lines', [event('tool_execution_completed', { result: 'a' }), event('tool_execution_completed', { result: 'b' })], '✓ a\n✓ b\n'],
  ])('%s', (_title, events, shown) => {
    expect(render(events)).toBe(shown)
  })
})

describe('what could move the cursor or turn the text is shown, not obeyed', () => {
  const controls = [...Array.from({ length: 0x20 }, (_, code) => code).filter((code) => code !== 9 && code !== 10), 0x7f, 0x80, 0x85, 0x9b, 0x9f]
  const marks = [0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069]
  const evil = [...controls, ...marks].map((code) => String.fromCharCode(code)).join('')
  const shown = [...controls, ...marks].map((code) => `\\u${code.toString(16).padStart(4, '0')}`).join('')

  test.each<[string, ClientEvent, string]>([
    ['text', text(evil), shown],
    ['thinking', thinking(evil), shown],
    ['the name of a call', event('tool_calls_proposed', { tool_calls: [{ id: '1', name: evil, arguments: {} }] }), `→ ${shown}: {}\n`],
    ['a command', event('tool_calls_proposed', { tool_calls: [{ id: '1', name: 'bash', arguments: { command: evil } }] }), `→ bash: ${shown}\n`],
    ['a result', event('tool_execution_completed', { result: evil }), `✓ ${shown}\n`],
    ['the name of a refused call', event('tool_rejected', { tool_name: evil, reason: '' }), `✗ ${shown}: \n`],
    ['the reason of a refusal', event('tool_rejected', { tool_name: 'x', reason: evil }), `✗ x: ${shown}\n`],
    ['the reason of a retry', event('retry_attempt', { reason: evil, delay_ms: 0 }), `… ${shown}; trying again\n`],
    ['an error', event('run_error', { error: evil }), `error: ${shown}\n`],
    ['why a run stopped', event('run_completed', { stop_reason: evil }), `[${shown}]\n`],
  ])('in %s', (_where, one, expected) => {
    expect(render([one])).toBe(expected)
  })

  test('tabs, line ends and every letter are left alone', () => {
    const fine = 'a\tb\nç 漢字 🦉 👩‍👩‍👧 שלום é'
    expect(render([text(fine)])).toBe(fine)
  })
})

describe('a long result', () => {
  const result = (length: number) => render([event('tool_execution_completed', { result: 'x'.repeat(length) })])

  test('of 2000 characters is shown whole', () => {
    expect(result(2000)).toBe(`✓ ${'x'.repeat(2000)}\n`)
  })

  test('of more is cut, saying how much is missing', () => {
    expect(result(2001)).toBe(`✓ ${'x'.repeat(2000)}… [1 more characters]\n`)
    expect(result(100_000)).toBe(`✓ ${'x'.repeat(2000)}… [98000 more characters]\n`)
  })
})

describe('a call that a person is asked about', () => {
  test.each<[string, string, unknown, string]>([
    ['a command as it would run', 'bash', { command: 'rm -rf build && make', timeout_ms: 5 }, 'bash: rm -rf build && make'],
    ['all its lines', 'bash', { command: 'one\n\ttwo' }, 'bash: one\n\ttwo'],
    ['its arguments where there is no command', 'edit', { path: 'a', old_text: 'x' }, 'edit: {"path":"a","old_text":"x"}'],
    ['its arguments where the command is no text', 'bash', { command: ['ls'] }, 'bash: {"command":["ls"]}'],
    ['null', 'odd', null, 'odd: null'],
    ['a command that would hide its beginning', 'bash', { command: 'rm -rf /\rls' }, 'bash: rm -rf /\\u000dls'],
  ])('is shown with %s', (_what, name, args, shown) => {
    expect(describeCall({ id: '1', name, arguments: args })).toBe(shown)
  })
})
