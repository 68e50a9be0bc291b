/** What every kind of provider can do wrong, and what must come of it. */
import { hangUp, refuse, say, sayOnly, silence, stream } from '../../test/support/fake-provider.ts'
import { eventsOf } from '../../test/support/fake-wire.ts'
import { frame, raw, endless, text, note, inPieces, first, firstBy, status, HELLO, UP_TO_TEXT, SSE, type Fault } from './replies.ts'

/** Faults that every kind of provider can have. */
export const EVERYWHERE: readonly Fault[] = [
  { name: 'no first byte, ever', reply: first(9, silence), ends: 'model_unavailable', requests: 3 },
  { name: 'no first byte, once', reply: first(1, silence), ends: 'completed', requests: 2, text: 'fine' },
  {
    name: 'a stall inside, once',
    reply: firstBy(1, (wire) => sayOnly(UP_TO_TEXT[wire], wire, HELLO, 'silence')),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'a stall inside, ever',
    reply: firstBy(9, (wire) => sayOnly(UP_TO_TEXT[wire], wire, HELLO, 'silence')),
    ends: 'model_unavailable',
    requests: 3,
    text: 'Hel',
  },
  { name: 'a reset before', reply: first(2, hangUp), ends: 'completed', requests: 3, text: 'fine' },
  {
    name: 'a reset inside, once',
    reply: firstBy(1, (wire) => sayOnly(UP_TO_TEXT[wire], wire, HELLO, 'cut')),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'a reset inside, ever',
    reply: firstBy(9, (wire) => sayOnly(UP_TO_TEXT[wire], wire, HELLO, 'cut')),
    ends: 'model_unavailable',
    requests: 3,
    text: 'Hel',
  },
  {
    name: 'an end without a reason',
    reply: firstBy(1, (wire) => sayOnly(UP_TO_TEXT[wire], wire, HELLO, 'end')),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'bad JSON inside',
    reply: firstBy(1, (wire) => raw(eventsOf(wire, HELLO).slice(0, UP_TO_TEXT[wire]).map(frame).join('') + frame('{"oops'))),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  { name: 'bad JSON, ever', reply: first(9, raw(frame('not json'))), ends: 'model_protocol', requests: 3 },
  { name: 'a page in place of a stream', reply: first(1, refuse(200, '<html>Sign in</html>')), ends: 'completed', requests: 2, text: 'fine' },
  { name: 'an empty stream', reply: first(1, stream([])), ends: 'completed', requests: 2, text: 'fine' },
  { name: '429 without a time', reply: firstBy(1, status(429)), ends: 'completed', requests: 2, text: 'fine' },
  { name: '429 with seconds', reply: firstBy(1, status(429, { 'retry-after': '1' })), ends: 'completed', requests: 2, text: 'fine' },
  { name: '429, ever', reply: firstBy(9, status(429, { 'retry-after': '0' })), ends: 'model_rate_limited', requests: 3 },
  { name: '429 with an absurd time', reply: firstBy(9, status(429, { 'retry-after': '31536000' })), ends: 'model_rate_limited', requests: 1 },
  { name: '503, ever', reply: firstBy(9, status(503, { 'retry-after': '0' })), ends: 'model_unavailable', requests: 3 },
  { name: '401', reply: firstBy(9, status(401)), ends: 'model_auth', requests: 1 },
  { name: '404', reply: firstBy(9, status(404)), ends: 'model_refused', requests: 1 },
  { name: 'a redirect', reply: first(9, refuse(307, '', { location: 'http://127.0.0.1:9/' })), ends: 'model_refused', requests: 1 },
  {
    name: 'seven bytes at a time',
    reply: firstBy(1, (wire) => inPieces(Buffer.from(text(wire, { blocks: [{ text: ['wörld ', '🌍 end'] }] })), 7)),
    ends: 'completed',
    requests: 1,
    text: 'wörld 🌍 end',
  },
  {
    name: 'packed garbage',
    reply: first(1, raw(Buffer.alloc(2000, 7), 'end', { ...SSE, 'content-encoding': 'gzip' })),
    ends: 'completed',
    requests: 2,
    text: 'fine',
  },
  {
    name: 'text without an end',
    reply: firstBy(9, (wire) =>
      endless(
        eventsOf(wire, HELLO).slice(0, UP_TO_TEXT[wire]).map(frame).join(''),
        eventsOf(wire, { blocks: [{ text: ['x'.repeat(20_000)] }] })
          .slice(UP_TO_TEXT[wire] - 1, UP_TO_TEXT[wire])
          .map(frame)
          .join(''),
      ),
    ),
    ends: 'model_refused',
    requests: 1,
  },
  {
    name: 'two calls of one id',
    reply: firstBy(1, (wire) => say(wire, { blocks: [note('same', 1), note('same', 2)] })),
    ends: 'completed',
    runs: 2,
    text: 'fine',
  },
  {
    name: 'the same id in three turns',
    reply: firstBy(3, (wire) => say(wire, { blocks: [note('call_0')] })),
    ends: 'completed',
    requests: 4,
    runs: 3,
    text: 'fine',
  },
  {
    name: 'an unknown tool',
    reply: firstBy(1, (wire) => say(wire, { blocks: [{ call: 'u', name: 'nowhere', input: ['{}'] }] })),
    ends: 'completed',
    requests: 2,
    runs: 0,
    text: 'fine',
  },
  {
    name: '256 calls at once',
    reply: firstBy(1, (wire) => say(wire, { blocks: Array.from({ length: 256 }, (_, n) => note(`c${n}`, n)) })),
    ends: 'completed',
    requests: 2,
    runs: 256,
    text: 'fine',
  },
  {
    name: '1,000 calls at once',
    reply: firstBy(9, (wire) => say(wire, { blocks: Array.from({ length: 1000 }, (_, n) => note(`c${n}`, n)) })),
    ends: 'model_protocol',
    requests: 3,
    runs: 0,
  },
]
