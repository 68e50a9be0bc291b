import { describe, expect, test } from 'vitest'
import type { ZodType } from 'zod'
import * as wire from './schemas.ts'

const ID = '01900000-0000-7000-8000-000000000001'
const TIME = '2026-01-02T03:04:05.678Z'
const text = { type: 'text', text: 'hi' }

const accepts = (schema: ZodType, value: unknown) => schema.safeParse(value).success
/** Where a value is wrong, as dotted paths. */
const wrong = (schema: ZodType, value: unknown) => schema.safeParse(value).error?.issues.map((issue) => issue.path.join('.'))

type Case = readonly [what: string, value: unknown, taken: boolean]

describe('opening a session', () => {
  test.each<Case>([
    ['a title', { title: 'x' }, true],
    ['an empty title', { title: '' }, true],
    ['a title of 1000 characters', { title: 'x'.repeat(1000) }, true],
    ['a title of 1001 characters', { title: 'x'.repeat(1001) }, false],
    ['no title', {}, false],
    ['a title of nothing', { title: null }, false],
    ['a folder', { title: 'x', cwd: '/work' }, true],
    ['a folder of nothing', { title: 'x', cwd: null }, true],
    ['a folder of 4096 characters', { title: 'x', cwd: `/${'a'.repeat(4095)}` }, true],
    ['a folder of 4097 characters', { title: 'x', cwd: `/${'a'.repeat(4096)}` }, false],
    ['an agent of one character', { title: 'x', agent: 'a' }, true],
    ['an agent of 200 characters', { title: 'x', agent: 'a'.repeat(200) }, true],
    ['an agent of 201 characters', { title: 'x', agent: 'a'.repeat(201) }, false],
    ['an empty agent', { title: 'x', agent: '' }, false],
    ['a model of 200 characters', { title: 'x', model: 'm'.repeat(200) }, true],
    ['a model of 201 characters', { title: 'x', model: 'm'.repeat(201) }, false],
    ['an empty model', { title: 'x', model: '' }, false],
    ['a list', [], false],
    ['a text', 'x', false],
  ])('with %s', (_what, value, taken) => {
    expect(accepts(wire.CreateSession, value)).toBe(taken)
  })

  test('ignores what it does not know, and does not keep it', () => {
    expect(wire.CreateSession.parse({ title: 'x', owner: 'root' })).toEqual({ title: 'x' })
  })
})

describe('changing a session', () => {
  test.each<Case>([
    ['nothing', {}, true],
    ['nothing, said', { title: null, visibility: null }, true],
    ['both', { title: 'x', visibility: 'PUBLIC' }, true],
    ['a title of 1000 characters', { title: 'x'.repeat(1000) }, true],
    ['a title of 1001 characters', { title: 'x'.repeat(1001) }, false],
    ['a visibility in small letters', { visibility: 'public' }, false],
    ['an unknown visibility', { visibility: 'HIDDEN' }, false],
  ])('%s', (_what, value, taken) => {
    expect(accepts(wire.UpdateSession, value)).toBe(taken)
  })
})

describe('forking a session', () => {
  test.each<Case>([
    ['at a position', { at: 3 }, true],
    ['at the beginning, which the log refuses', { at: 0 }, true],
    ['with a title', { at: 3, title: 'x' }, true],
    ['with a title of nothing', { at: 3, title: null }, true],
    ['with a title of 1001 characters', { at: 3, title: 'x'.repeat(1001) }, false],
    ['nowhere', {}, false],
    ['before the beginning', { at: -1 }, false],
    ['between two positions', { at: 1.5 }, false],
    ['at a text', { at: '3' }, false],
  ])('%s', (_what, value, taken) => {
    expect(accepts(wire.ForkSession, value)).toBe(taken)
  })
})

describe('a message', () => {
  const message = (content: unknown, more: object = {}) => ({ role: 'user', content, ...more })

  test.each<Case>([
    ['of text', message('hi'), true],
    ['of empty text', message(''), true],
    ['of no parts', message([]), true],
    ['of a text part', message([text]), true],
    [
      'of every part',
      message([
        text,
        { type: 'image', url: 'u', detail: 'auto' },
        { type: 'tool_call', id: 'c', name: 't', arguments: {} },
        { type: 'tool_result', tool_call_id: 'c', content: [1] },
      ]),
      true,
    ],
    ['of a picture without a detail', message([{ type: 'image', url: 'u', detail: null }]), true],
    ['of a picture in an unknown detail', message([{ type: 'image', url: 'u', detail: 'tiny' }]), false],
    ['of a picture without an address', message([{ type: 'image' }]), false],
    ['of a part of no kind', message([{ text: 'hi' }]), false],
    ['of a part of an unknown kind', message([{ type: 'video', url: 'u' }]), false],
    ['of thoughts, which nobody sends', message([{ type: 'thinking', text: 'hm' }]), false],
    ['of a number', message(5), false],
    ['of nothing', message(null), false],
    ['with a name and provider options', message('hi', { name: 'Al', provider_options: { anthropic: { cache_control: { type: 'ephemeral' } } } }), true],
    ['with a name of nothing', message('hi', { name: null, provider_options: null }), true],
    ['with provider options that are no object', message('hi', { provider_options: 'x' }), false],
    ['of the system', { role: 'system', content: 'x' }, true],
    ['of an unknown role', { role: 'developer', content: 'x' }, false],
    ['of no role', { content: 'x' }, false],
  ])('%s', (_what, value, taken) => {
    expect(accepts(wire.Message, value)).toBe(taken)
    expect(accepts(wire.SendMessage, { message: value })).toBe(taken)
  })

  const sent = (more: object) => ({ message: message('hi'), ...more })

  test.each<Case>([
    ['each type', sent({ type: 'steering', run_id: ID }), true],
    ['an unknown type', sent({ type: 'steer' }), false],
    ['a run that is no UUID', sent({ run_id: 'r1' }), false],
    ['a run in capitals', sent({ run_id: ID.toUpperCase() }), true],
    [
      'nothing, said everywhere',
      sent({ type: null, run_id: null, model: null, on_interrupt: 'resume', sandbox: null, context: null, overrides: null, when_busy: null }),
      true,
    ],
    ['a sandbox that is no answer', sent({ sandbox: 'yes' }), false],
    ['an unknown way when busy', sent({ when_busy: 'wait' }), false],
    ['context', sent({ context: [{ name: 'a', content: 'b', priority: 'anything' }] }), true],
    ['context without content', sent({ context: [{ name: 'a' }] }), false],
    ['overrides of nothing', sent({ overrides: { model: null, auto_approve: null, system_prompt: null, max_turns: null } }), true],
    ['approval by name', sent({ overrides: { auto_approve: ['read'] } }), true],
    ['approval by a word', sent({ overrides: { auto_approve: 'all' } }), true],
    ['approval by a number', sent({ overrides: { auto_approve: 1 } }), false],
    ['approval of numbers', sent({ overrides: { auto_approve: [1] } }), false],
    ['whole turns', sent({ overrides: { max_turns: 3 } }), true],
    ['half turns', sent({ overrides: { max_turns: 1.5 } }), false],
    ['turns as text', sent({ overrides: { max_turns: '3' } }), false],
    ['turns beyond what a number can say', sent({ overrides: { max_turns: 2 ** 53 } }), false],
  ])('may be sent with %s', (_what, value, taken) => {
    expect(accepts(wire.SendMessage, value)).toBe(taken)
  })

  test.each(['reject', 'enqueue', 'steer', 'interrupt'])('may %s when a run is active', (way) => {
    expect(wire.SendMessage.parse(sent({ when_busy: way })).when_busy).toBe(way)
  })

  test.each(['message', 'steering', 'follow_up'])('is of the type %s', (type) => {
    expect(wire.SendMessage.parse(sent({ type })).type).toBe(type)
  })

  test('says where it is wrong', () => {
    expect(wrong(wire.SendMessage, { message: message('hi'), overrides: { max_turns: 'x' } })).toEqual(['overrides.max_turns'])
    expect(wrong(wire.SendMessage, {})).toEqual(['message'])
  })

  test('has bounds that the contract names', () => {
    expect([wire.TITLE_CHARS_MAX, wire.SYSTEM_PROMPT_CHARS_MAX, wire.DECISIONS_MAX]).toEqual([1000, 32_768, 256])
    expect(wire.CONTEXT).toEqual({ items: 32, nameChars: 256, contentChars: 50_000, allChars: 500_000 })
  })
})

describe('an answer to calls', () => {
  test.each<Case>([
    ['an accept', { run_id: ID, action: 'accept' }, true],
    ['a refusal', { run_id: ID, action: 'reject', content: null }, true],
    ['a result', { run_id: ID, action: 'custom_result', content: '' }, true],
    ['an unknown action', { run_id: ID, action: 'approve' }, false],
    ['no action', { run_id: ID }, false],
    ['no run', { action: 'accept' }, false],
    ['content that is no text', { run_id: ID, action: 'accept', content: 5 }, false],
  ])('of one: %s', (_what, value, taken) => {
    expect(accepts(wire.Decision, value)).toBe(taken)
  })

  test.each<Case>([
    ['none', { run_id: ID, decisions: {} }, true],
    ['one', { run_id: ID, decisions: { c1: { action: 'accept' } } }, true],
    ['one without an action', { run_id: ID, decisions: { c1: {} } }, false],
    ['a list', { run_id: ID, decisions: [] }, false],
    ['no decisions', { run_id: ID }, false],
  ])('of many: %s', (_what, value, taken) => {
    expect(accepts(wire.Decisions, value)).toBe(taken)
  })

  test('keeps an id of a call whatever it looks like', () => {
    const decisions = Object.fromEntries(['toString', 'a b', '', 'ü/../x'].map((id) => [id, { action: 'accept' as const }]))
    expect(Object.keys(wire.Decisions.parse({ run_id: ID, decisions }).decisions)).toEqual(Object.keys(decisions))
  })
})

describe('a cancel and a switch of the model', () => {
  test.each<[string, ZodType, unknown, boolean]>([
    ['a cancel', wire.Cancel, { run_id: ID }, true],
    ['a cancel of nothing', wire.Cancel, {}, false],
    ['a cancel of no UUID', wire.Cancel, { run_id: '1' }, false],
    ['a switch', wire.SetModel, { run_id: ID, model: 'a/b' }, true],
    ['a switch to nothing', wire.SetModel, { run_id: ID }, false],
  ])('%s', (_what, schema, value, taken) => {
    expect(accepts(schema, value)).toBe(taken)
  })
})

describe('what the server answers', () => {
  const session: wire.Session = {
    id: ID,
    title: '',
    cwd: null,
    created_at: TIME,
    updated_at: TIME,
    run_status: { state: 'idle' },
    status: 'ACTIVE',
    visibility: 'PRIVATE',
    agent: 'convoke',
    model: null,
    on_interrupt: 'resume',
    message_count: 0,
    origin: null,
  }

  test.each<[string, object, boolean]>([
    ['is whole', {}, true],
    ['is a fork', { origin: { session_id: ID, position: 1 } }, true],
    ['is a fork of nothing', { origin: { session_id: ID, position: 0 } }, false],
    ['waits', { run_status: { state: 'running', run_id: ID, waiting: true } }, true],
    ['does not wait, which is not said', { run_status: { state: 'running', waiting: false } }, false],
    ['is in no state of the wire', { run_status: { state: 'waiting' } }, false],
    ['failed, with why', { run_status: { state: 'failed', error: 'x', code: 'y' } }, true],
    ['has a time with another zone', { created_at: '2026-01-02T03:04:05+01:00' }, false],
    ['has a time of no format', { created_at: 'yesterday' }, false],
    ['counts below nothing', { message_count: -1 }, false],
    ['has a status in small letters', { status: 'active' }, false],
  ])('a session that %s', (_what, change, valid) => {
    expect(accepts(wire.Session, { ...session, ...change })).toBe(valid)
  })

  test.each<[string, ZodType, unknown, boolean]>([
    ['a page of sessions', wire.SessionList, { sessions: [session], total: 1, next_cursor: null }, true],
    ['a page without a total', wire.SessionList, { sessions: [], next_cursor: null }, false],
    ['a detail', wire.SessionDetail, { session, config: { default_model: null, auto_approve_mode: 'custom' }, position: 0, run_position: null }, true],
    [
      'a detail whose run stands at 0',
      wire.SessionDetail,
      { session, config: { default_model: null, auto_approve_mode: 'all' }, position: 0, run_position: 0 },
      false,
    ],
    ['a page of messages', wire.MessageList, { messages: [{ role: 'tool', content: [] }], total: 1, next_cursor: 'm1' }, true],
    ['what became of a message', wire.Sent, { run_id: ID, message_id: ID, accepted: 'queued', position: 3 }, true],
    ['what became of a message, in another word', wire.Sent, { run_id: ID, message_id: ID, accepted: 'waiting', position: 3 }, false],
    ['calls that wait', wire.PendingTools, { run_id: null, tool_calls: [] }, true],
    ['a cancel under way', wire.Cancelled, { cancelled: true, run_id: ID, status: 'cancelling', position: 1 }, true],
    ['a cancel that is none', wire.Cancelled, { cancelled: false, run_id: ID, status: 'cancelling', position: 1 }, false],
    ['health', wire.Health, { status: 'ok', version: '1', uptime_seconds: 0 }, true],
    ['a problem', wire.Problem, { type: 't', title: 't', status: 404, detail: 'd', instance: '/', error: 'e', code: 'not_found', request_id: 'r' }, true],
    ['a problem without a code', wire.Problem, { type: 't', title: 't', status: 404, detail: 'd', instance: '/', error: 'e', request_id: 'r' }, false],
  ])('%s', (_what, schema, value, valid) => {
    expect(accepts(schema, value)).toBe(valid)
  })
})
