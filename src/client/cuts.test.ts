/** C1 as a property: however the bytes come, and wherever connections break, the events equal the plain list. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { followEvents } from './events.ts'
import type { Connection } from './request.ts'

interface Plan {
  /** Text of each event; the last one ends the run. */
  readonly deltas: readonly string[]
  /** Per connection: after how many bytes it breaks, and whether with an error or in good order. */
  readonly cuts: readonly { readonly atByte: number; readonly withError: boolean }[]
  /** Sizes of the pieces that bytes come in. */
  readonly pieces: readonly number[]
  readonly lineEnd: '\n' | '\r\n' | '\r'
  /** Begin after this many events. */
  readonly after: number
}

const anyPlan: fc.Arbitrary<Plan> = fc
  .array(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('ü', '🦉🦉', 'data: x', '\n\n', ': head 99')), { minLength: 1, maxLength: 8 })
  .chain((deltas) =>
    fc.record({
      deltas: fc.constant(deltas),
      cuts: fc.array(fc.record({ atByte: fc.nat(900), withError: fc.boolean() }), { maxLength: 6 }),
      pieces: fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 9 }),
      lineEnd: fc.constantFrom('\n', '\r\n', '\r'),
      after: fc.nat(deltas.length - 1),
    }),
  )

/** What a server sends to a reader that has seen `after` events. */
function streamOf({ deltas, lineEnd }: Plan, after: number): Uint8Array {
  const frames = deltas.slice(after).map((delta, index) => {
    const id = after + index + 1
    const name = id === deltas.length ? 'run_completed' : 'text_delta'
    const data = JSON.stringify({ id, run_id: 'r', timestamp: 't', event: { Tag: { delta } } })
    return [`id: ${id}`, `event: ${name}`, `data: ${data}`, '', ''].join(lineEnd)
  })
  return new TextEncoder().encode([`retry: 2000`, `: head ${deltas.length}`, '', ...frames].join(lineEnd))
}

function connectionOf(plan: Plan): { readonly connection: Connection; readonly asked: number[] } {
  const asked: number[] = []
  const fetchCut: typeof fetch = async (url) => {
    const after = Number(new URL(url as string).searchParams.get('after'))
    const cut = plan.cuts[asked.length]
    asked.push(after)
    const bytes = streamOf(plan, after).subarray(0, cut?.atByte)
    let sent = 0
    let piece = 0
    return new Response(
      new ReadableStream<Uint8Array>({
        pull(controller) {
          const size = plan.pieces[piece++ % plan.pieces.length] ?? 1
          if (sent < bytes.length) controller.enqueue(bytes.subarray(sent, (sent += size)))
          else if (cut?.withError === true) controller.error(new TypeError('terminated'))
          else controller.close()
        },
      }),
    )
  }
  const after: Connection['after'] = (_delayMs, fn) => {
    const soon = setImmediate(fn)
    return () => clearImmediate(soon)
  }
  return { connection: { url: 'http://server', fetch: fetchCut, after: (ms, fn) => (ms === 45_000 ? () => undefined : after(ms, fn)) }, asked }
}

test('any cutting of the byte stream equals the plain list', async () => {
  await fc.assert(
    fc.asyncProperty(anyPlan, async (plan) => {
      const { connection, asked } = connectionOf(plan)
      const found: [number, unknown][] = []
      for await (const { position, payload } of followEvents(connection, 's', { after: plan.after, untilRunEnd: true }))
        found.push([position, payload['delta']])
      expect(found).toEqual(plan.deltas.map((delta, index) => [index + 1, delta]).slice(plan.after))
      // No connection asks again for what was seen.
      expect(asked).toEqual(asked.toSorted((a, b) => a - b))
    }),
    { numRuns: 300 },
  )
})
