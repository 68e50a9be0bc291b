/** The server's own OpenAPI document as a judge and as a source of requests. */
import fc from 'fast-check'

/** A JSON schema, as far as the document uses them. */
export interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Schema | boolean
  readonly propertyNames?: Schema
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
  readonly format?: string
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly description?: string
  readonly discriminator?: unknown
  readonly default?: unknown
}

/** A path parameter, query parameter or header. */
export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Schema
}

/** One route of the document. */
export interface Operation {
  readonly method: string
  readonly path: string
  readonly operationId: string
  readonly public: boolean
  readonly parameters: readonly Parameter[]
  readonly body: Schema | undefined
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>>
}

/** What tests use of the document. */
export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}
interface RawOperation {
  readonly operationId: string
  readonly security: readonly unknown[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Operation['responses']
}

/** Every route that the document names. */
export function operationsOf(document: Document): readonly Operation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, security, parameters = [], requestBody, responses }]) => ({
      method: method.toUpperCase(),
      path,
      operationId,
      public: security.length === 0,
      parameters,
      body: requestBody?.content['application/json']?.schema,
      responses,
    })),
  )
}

const KEYWORDS = new Set(
  '$ref type enum const properties required additionalProperties propertyNames items anyOf oneOf allOf format pattern minLength maxLength minimum maximum description discriminator default'.split(
    ' ',
  ),
)

/**
 * What is wrong with `value`, by place; nothing where it is valid. Stricter than the standard: an object may hold only documented
 * properties, and a keyword that this judge does not know is a fault of its own.
 */
export function faultsOf(document: Document, schema: Schema, value: unknown, at = ''): readonly string[] {
  const unknown = Object.keys(schema).filter((keyword) => !KEYWORDS.has(keyword))
  if (unknown.length > 0) return [`${at}: the judge does not know ${unknown.join(', ')}`]
  if (schema.$ref !== undefined) return faultsOf(document, resolve(document, schema), value, at)
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) {
    const faults = choices.map((choice) => faultsOf(document, choice, value, at))
    return faults.some(({ length }) => length === 0) ? [] : [`${at}: fits no choice: ${faults.flat().join('; ')}`]
  }
  const own = [...typeFaults(schema, value, at), ...textFaults(schema, value, at), ...numberFaults(schema, value, at)]
  const all = (schema.allOf ?? []).flatMap((part) => faultsOf(document, part, value, at))
  if (Array.isArray(value)) {
    return [
      ...own,
      ...all,
      ...(schema.items === undefined ? [] : value.flatMap((item, index) => faultsOf(document, schema.items as Schema, item, `${at}/${index}`))),
    ]
  }
  return isObject(value) ? [...own, ...all, ...objectFaults(document, schema, value, at)] : [...own, ...all]
}

function resolve(document: Document, schema: Schema): Schema {
  const found = document.components.schemas[schema.$ref?.split('/').at(-1) ?? '']
  if (found === undefined) throw new Error(`the document has no ${schema.$ref}`)
  return found
}

function typeFaults(schema: Schema, value: unknown, at: string): readonly string[] {
  const faults: string[] = []
  const types = schema.type === undefined ? undefined : [schema.type].flat()
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
  if (types !== undefined && !types.includes(type) && !(type === 'number' && types.includes('integer')))
    faults.push(`${at}: ${type} is not ${types.join(' or ')}`)
  if (type === 'number' && types?.includes('number') === false && !Number.isInteger(value)) faults.push(`${at}: ${String(value)} is not whole`)
  if (schema.enum !== undefined && !schema.enum.includes(value)) faults.push(`${at}: ${String(value)} is none of ${schema.enum.join(', ')}`)
  if (schema.const !== undefined && schema.const !== value) faults.push(`${at}: ${String(value)} is not ${JSON.stringify(schema.const)}`)
  return faults
}

const FORMATS: Readonly<Record<string, RegExp>> = {
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
}

function textFaults(schema: Schema, value: unknown, at: string): readonly string[] {
  if (typeof value !== 'string') return []
  const faults: string[] = []
  const format = schema.format === undefined ? /^/ : FORMATS[schema.format]
  if (format === undefined) faults.push(`${at}: the judge does not know the format ${schema.format}`)
  else if (!format.test(value)) faults.push(`${at}: ${JSON.stringify(value)} is no ${schema.format}`)
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value))
    faults.push(`${at}: ${JSON.stringify(value)} does not match ${schema.pattern}`)
  if (value.length < (schema.minLength ?? 0) || value.length > (schema.maxLength ?? Infinity)) faults.push(`${at}: ${value.length} characters`)
  return faults
}

function numberFaults(schema: Schema, value: unknown, at: string): readonly string[] {
  if (typeof value !== 'number') return []
  return value < (schema.minimum ?? -Infinity) || value > (schema.maximum ?? Infinity) ? [`${at}: ${value} is out of bounds`] : []
}

function objectFaults(document: Document, schema: Schema, value: Readonly<Record<string, unknown>>, at: string): readonly string[] {
  const { properties = {}, required = [], additionalProperties } = schema
  const missing = required.filter((name) => !(name in value)).map((name) => `${at}: ${name} is missing`)
  const open = Object.keys(properties).length === 0 && additionalProperties === undefined
  const inside = Object.entries(value).flatMap(([name, child]) => {
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined
    if (known !== undefined) return faultsOf(document, known, child, `${at}/${name}`)
    if (typeof additionalProperties === 'object') return faultsOf(document, additionalProperties, child, `${at}/${name}`)
    return additionalProperties === true || open ? [] : [`${at}: ${name} is not documented`]
  })
  return [...missing, ...inside]
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Text of all kinds: empty, odd unicode, control characters, lone surrogates, what means something elsewhere. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 20 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '',
      ' ',
      '\0',
      '\uFEFF',
      '\uD800',
      '\uDC00x',
      '‮',
      '😀'.repeat(5),
      'ﷺ',
      'e\u0301',
      '__proto__',
      'constructor',
      'toString',
      '%',
      '%_%',
      "'; --",
      '../../etc/passwd',
      '{{7*7}}',
      'null',
      'true',
      '-0',
      '1e309',
      '\r\n\r\n',
      'data: x\n\n',
      'x'.repeat(1001),
      'x'.repeat(5000),
    ),
  },
)

/** Numbers at the edges. */
export const anyNumber: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: -3, max: 300 }),
  fc.constantFrom(0, -0, -1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2, -(2 ** 53), 2 ** 63, 1e21, 1e308, Number.MIN_VALUE),
)

/** JSON that nobody asked for. */
export const anyJson: fc.Arbitrary<unknown> = fc.oneof(fc.constantFrom(null, true, false, [], {}), anyNumber, anyText, fc.jsonValue({ maxDepth: 3 }))

/** Values that `schema` allows; `texts` gives strings by property name, so that ids can be ones that exist. */
export function valuesOf(document: Document, schema: Schema, texts: (name: string) => fc.Arbitrary<string> | undefined, name = ''): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) return valuesOf(document, resolve(document, schema), texts, name)
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  if (schema.const !== undefined) return fc.constant(schema.const)
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) return fc.oneof(...choices.map((choice) => valuesOf(document, choice, texts, name)))
  const types = schema.type === undefined ? [] : [schema.type].flat()
  if (types.length === 0) return anyJson
  return fc.oneof(...types.map((type) => valuesOfType(document, schema, type, texts, name)))
}

function valuesOfType(
  document: Document,
  schema: Schema,
  type: string,
  texts: (name: string) => fc.Arbitrary<string> | undefined,
  name: string,
): fc.Arbitrary<unknown> {
  switch (type) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'integer':
      return fc.integer({ min: Math.max(schema.minimum ?? -2, -1000), max: Math.min(schema.maximum ?? 300, 100_000) })
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true })
    case 'string':
      return texts(name) ?? (schema.format === 'uuid' ? fc.uuid() : anyText.map((text) => text.slice(0, schema.maxLength)))
    case 'array':
      return fc.array(schema.items === undefined ? anyJson : valuesOf(document, schema.items, texts, name), { maxLength: 3 })
    case 'object': {
      const { properties = {}, required = [], additionalProperties } = schema
      const named = Object.entries(properties).map(([key, child]) => [key, valuesOf(document, child, texts, key)] as const)
      const known = fc.record(Object.fromEntries(named), { requiredKeys: [...required] })
      if (typeof additionalProperties !== 'object') return known
      return fc.dictionary(texts('key') ?? anyText, valuesOf(document, additionalProperties, texts, name), { maxKeys: 3 })
    }
    default:
      throw new Error(`the generator does not know the type ${type}`)
  }
}

/** One change that makes a valid value, most of the time, an invalid one: at a random place another type, a missing or an extra field, or depth. */
export function mutated(value: unknown): fc.Arbitrary<unknown> {
  const places = placesOf(value)
  return fc.oneof(
    { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...places), anyJson).map(([place, other]) => replaced(value, place, () => other)) },
    { weight: 2, arbitrary: fc.constantFrom(...places).map((place) => without(value, place)) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom(...places), anyText, anyJson)
        .map(([place, key, other]) =>
          replaced(value, place, (old) => (isObject(old) ? { ...old, [key]: other } : Array.isArray(old) ? [...old, other] : [old])),
        ),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom(...places), fc.integer({ min: 1, max: 200 }))
        .map(([place, depth]) => replaced(value, place, (old) => nested(old, depth))),
    },
  )
}

type Place = readonly (string | number)[]

function placesOf(value: unknown, at: Place = []): readonly Place[] {
  if (Array.isArray(value)) return [at, ...value.flatMap((item, index) => placesOf(item, [...at, index]))]
  return isObject(value) ? [at, ...Object.entries(value).flatMap(([key, child]) => placesOf(child, [...at, key]))] : [at]
}

function replaced(value: unknown, [step, ...rest]: Place, change: (old: unknown) => unknown): unknown {
  if (step === undefined) return change(value)
  if (Array.isArray(value)) return value.map((item, index) => (index === step ? replaced(item, rest, change) : item))
  return Object.fromEntries(Object.entries(value as object).map(([key, child]) => [key, key === step ? replaced(child, rest, change) : child]))
}

function without(value: unknown, place: Place): unknown {
  const last = place.at(-1)
  if (last === undefined) return undefined
  return replaced(value, place.slice(0, -1), (old) =>
    Array.isArray(old) ? old.filter((_, index) => index !== last) : Object.fromEntries(Object.entries(old as object).filter(([key]) => key !== last)),
  )
}

function nested(value: unknown, depth: number): unknown {
  let deep = value
  for (let left = depth; left > 0; left--) deep = left % 2 === 0 ? [deep] : { deep }
  return deep
}
