/** What a provider can do wrong in the words of chat completions, which servers of all kinds speak, and what must come of it. */
import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { refuse, say } from '../../test/support/fake-provider.ts'
import { frame, raw, unframed, endless, dripping, text, chunk, DONE, callDelta, first, firstBy, status, HELLO, SSE, type Fault } from './replies.ts'

/** Faults in the words of chat completions. */
export const COMPATIBLE: readonly Fault[] = [
  ...[500, 501, 502, 504, 507, 520, 529, 599].map((code): Fault => ({
    name: `${code}`,
    reply: firstBy(1, status(code)),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  })),
  ...[400, 402, 405, 410, 413, 418, 422, 451].map((code): Fault => ({ name: `${code}`, reply: firstBy(9, status(code)), ends: 'model_refused', requests: 1 })),
  ...[408, 409].map((code): Fault => ({ name: `${code}`, reply: firstBy(1, status(code)), ends: 'completed', requests: 2, text: 'fine' })),
  { name: '403', reply: firstBy(9, status(403)), ends: 'model_auth', requests: 1 },
  ...[301, 302, 303, 308].map((code): Fault => ({
    name: `${code}`,
    reply: first(9, refuse(code, '', { location: '/elsewhere' })),
    ends: 'model_refused',
    requests: 1,
  })),
  ...['soon', '-5', '5, 5', '1e9', 'Infinity', ''].map((value): Fault => ({
    name: `429 with the time ${JSON.stringify(value)}`,
    reply: firstBy(1, status(429, { 'retry-after': value })),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  })),
  {
    name: '429 with a date',
    reply: first(1, (response: ServerResponse) => refuse(429, {}, { 'retry-after': new Date(Date.now() + 2000).toUTCString() })(response)),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: '429 with a date that is past',
    reply: firstBy(1, status(429, { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' })),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: '429 with a date in a hundred years',
    reply: firstBy(9, status(429, { 'retry-after': 'Thu, 01 Jan 2099 00:00:00 GMT' })),
    ends: 'model_rate_limited',
    requests: 1,
  },
  { name: '429 with 10^400 seconds', reply: firstBy(9, status(429, { 'retry-after': '9'.repeat(400) })), ends: 'model_rate_limited', requests: 1 },
  { name: 'an answer that is no HTTP', reply: first(1, unframed('SSH-2.0-OpenSSH_9.9\r\n')), ends: 'completed', requests: 2, text: 'fine' },
  {
    name: 'chunks that are none',
    reply: first(1, unframed('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello')),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'fewer bytes than announced',
    reply: first(1, unframed('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5000\r\n\r\ndata: {')),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  { name: 'a head of 1 MB', reply: first(1, unframed(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(1_000_000)}\r\n\r\n`)), ends: 'completed', requests: 2, text: 'fine' },
  {
    name: 'packed and cut off',
    reply: firstBy(1, (wire) => raw(gzipSync(text(wire, HELLO)).subarray(0, 60), 'end', { ...SSE, 'content-encoding': 'gzip' })),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'a packed bomb',
    reply: first(9, raw(gzipSync(`data: {"${'x'.repeat(80 * 1024 * 1024)}`), 'end', { ...SSE, 'content-encoding': 'gzip' })),
    // A slow machine finds its silence too long before it has all bytes.
    ends: ['model_refused', 'model_unavailable'],
  },
  { name: 'a line without an end', reply: first(9, endless('data: {"', 'x'.repeat(65_536))), ends: 'model_refused', requests: 1 },
  { name: 'comments without an end', reply: first(9, dripping(': still here\n\n', 50)), ends: 'model_unavailable', requests: 3 },
  { name: 'empty words without an end', reply: first(9, dripping(chunk({ content: '' }), 50)), ends: 'model_unavailable', requests: 3 },
  {
    name: 'arguments without an end',
    reply: first(
      9,
      endless(
        callDelta([{ index: 0, id: 'a', type: 'function', function: { name: 'note', arguments: '{"n":"' } }]),
        callDelta([{ index: 0, function: { arguments: 'x'.repeat(20_000) } }]),
      ),
    ),
    ends: 'model_refused',
    requests: 1,
    runs: 0,
  },
  {
    name: 'an error without an end',
    reply: first(9, (response: ServerResponse) => {
      response.writeHead(400)
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      }
      response.on('drain', more)
      more()
    }),
    ends: 'model_refused',
    requests: 1,
  },
  {
    name: 'a word of 1 MB',
    reply: firstBy(1, (wire) => say(wire, { blocks: [{ text: ['y'.repeat(1_000_000)] }] })),
    ends: 'completed',
    requests: 1,
    text: 'y'.repeat(1_000_000),
  },
  {
    name: 'a character cut off at the end',
    reply: first(
      1,
      raw(Buffer.concat([Buffer.from(chunk({ content: 'x' }) + 'data: {"choices":[{"index":0,"delta":{"content":"'), Buffer.from([0xf0, 0x9f])])),
    ),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'bytes that are no UTF-8',
    reply: first(
      1,
      raw(
        Buffer.concat([
          Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"'),
          Buffer.from([0xff, 0xfe]),
          Buffer.from(`"}}]}\n\n${chunk({}, 'stop')}${DONE}`),
        ]),
      ),
    ),
    ends: 'completed',
    requests: 1,
    text: '\uFFFD\uFFFD',
  },
  {
    name: 'NUL and halves of characters',
    reply: first(
      1,
      raw(
        chunk({ content: 'a\u0000b' }) +
          'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\ndata: {"choices":[{"index":0,"delta":{"content":"\\ude00"}}]}\n\n' +
          chunk({}, 'stop') +
          DONE,
      ),
    ),
    ends: 'completed',
    requests: 1,
    text: 'a\u0000b😀',
  },
  {
    name: 'line ends of all kinds, and a mark in front',
    reply: first(1, raw(`\uFEFF${(chunk({ content: 'so' }) + chunk({}, 'stop')).replaceAll('\n', '\r\n')}${DONE.replaceAll('\n', '\r')}`)),
    ends: 'completed',
    requests: 1,
    text: 'so',
  },
  { name: 'only [DONE]', reply: first(1, raw(DONE)), ends: 'completed', requests: 2, text: 'fine' },
  { name: 'an empty answer', reply: first(1, raw(chunk({}, 'stop') + DONE)), ends: 'completed', requests: 1, text: '' },
  { name: 'no choices', reply: first(1, raw(frame({ id: 'c', choices: [] }) + DONE)), ends: 'completed', requests: 2, text: 'fine' },
  { name: 'a list in place of an object', reply: first(1, raw(frame('[1,2]') + frame('null') + frame('7'))), ends: 'completed', requests: 2, text: 'fine' },
  { name: 'words that are numbers', reply: first(1, raw(chunk({ content: 5 }) + chunk({}, 'stop'))), ends: 'completed', requests: 2, text: 'fine' },
  {
    name: 'an index that is none',
    reply: first(1, raw(callDelta([{ index: 7, id: 'x', function: { name: 'note', arguments: '{"n":1}' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 2,
    runs: 1,
    text: 'fine',
  },
  {
    name: 'arguments that are no JSON',
    reply: first(1, raw(callDelta([{ index: 0, id: 'x', function: { name: 'note', arguments: '{"n": oops' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 2,
    runs: 0,
    text: 'fine',
  },
  {
    name: 'arguments that are a list',
    reply: first(1, raw(callDelta([{ index: 0, id: 'x', function: { name: 'note', arguments: '[1]' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 2,
    runs: 0,
    text: 'fine',
  },
  {
    name: 'arguments of another kind',
    reply: first(1, raw(callDelta([{ index: 0, id: 'x', function: { name: 'note', arguments: { n: 1 } } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'arguments without a close',
    reply: first(1, raw(callDelta([{ index: 0, id: 'x', function: { name: 'note', arguments: '{"n":' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 2,
    runs: 0,
    text: 'fine',
  },
  {
    name: 'a call without an id',
    reply: first(1, raw(callDelta([{ index: 0, function: { name: 'note', arguments: '{"n":1}' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    text: 'fine',
  },
  {
    name: 'a call of an empty id',
    reply: first(1, raw(callDelta([{ index: 0, id: '', function: { name: 'note', arguments: '{"n":1}' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    text: 'fine',
  },
  {
    name: 'a call of an odd id',
    reply: first(1, raw(callDelta([{ index: 0, id: '../../__proto__', function: { name: 'note', arguments: '{"n":1}' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    runs: 1,
    text: 'fine',
  },
  {
    name: 'a call without a name',
    reply: first(1, raw(callDelta([{ index: 0, id: 'x', function: { arguments: '{"n":1}' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 2,
    runs: 0,
    text: 'fine',
  },
  {
    // The package drops it without a word.
    name: 'a call of an empty name',
    reply: first(1, raw(callDelta([{ index: 0, id: 'x', function: { name: '', arguments: '{"n":1}' } }]) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 1,
    runs: 0,
    text: '',
  },
  {
    name: 'calls that are no list',
    reply: first(1, raw(callDelta({ id: 'x' }) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 2,
    runs: 0,
    text: 'fine',
  },
  {
    name: 'a call with the reason stop',
    reply: first(1, raw(callDelta([{ index: 0, id: 'x', function: { name: 'note', arguments: '{"n":1}' } }]) + chunk({}, 'stop') + DONE)),
    ends: 'completed',
    requests: 2,
    runs: 1,
    text: 'fine',
  },
  {
    name: 'a reason that asks for calls, and none',
    reply: first(1, raw(chunk({ content: 'said' }) + chunk({}, 'tool_calls') + DONE)),
    ends: 'completed',
    requests: 1,
    text: 'said',
  },
  {
    name: 'words behind the end',
    reply: first(1, raw(chunk({ content: 'a' }) + chunk({}, 'stop') + chunk({ content: 'b' }) + DONE + chunk({ content: 'c' }))),
    ends: 'completed',
    requests: 1,
  },
  {
    name: 'two ends',
    reply: first(1, raw(chunk({ content: 'a' }) + chunk({}, 'stop') + chunk({}, 'length') + DONE)),
    ends: 'completed',
    requests: 1,
    text: 'a',
  },
  { name: 'the reason length', reply: first(1, raw(chunk({ content: 'a' }) + chunk({}, 'length') + DONE)), ends: 'completed', requests: 1, text: 'a' },
  {
    name: 'the reason content_filter',
    reply: first(1, raw(chunk({ content: 'a' }) + chunk({}, 'content_filter') + DONE)),
    ends: 'model_refused',
    requests: 1,
    text: 'a',
  },
  { name: 'a reason that nobody knows', reply: first(1, raw(chunk({ content: 'a' }) + chunk({}, 'tired') + DONE)), ends: 'completed', requests: 1, text: 'a' },
  {
    name: 'usage that is none',
    reply: first(
      1,
      raw(
        chunk({ content: 'a' }) +
          chunk({}, 'stop') +
          frame({ id: 'c', choices: [], usage: { prompt_tokens: -5, completion_tokens: 1e30, total_tokens: 0 } }) +
          DONE,
      ),
    ),
    ends: 'completed',
    requests: 1,
    text: 'a',
  },
  {
    name: 'an error inside',
    reply: first(1, raw(chunk({ content: 'a' }) + frame({ error: { message: 'overloaded', code: 503 } }))),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
]
