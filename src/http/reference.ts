/**
 * The OpenAPI document as a page that a person can read: plain HTML, no script, nothing from elsewhere.
 *
 * Everything that comes from the document is escaped; the policy below would stop what slipped through.
 */
import { createHash } from 'node:crypto'

/** What the page uses of a document. */
interface Operation {
  readonly summary?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean; readonly description?: string }[]
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: unknown }>> }
  readonly responses?: Readonly<Record<string, { readonly description?: string; readonly content?: Readonly<Record<string, { readonly schema?: unknown }>> }>>
}

const STYLE = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{margin:0 auto;max-width:60rem;padding:1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:.5rem;border:1px solid #8884;border-radius:4px}
details{border-bottom:1px solid #8884;padding:.3rem 0}summary{cursor:pointer}summary b{display:inline-block;min-width:4.5rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .5rem;border-top:1px solid #8884}nav a{margin-right:1rem}`

/** Headers of the page: it may load nothing, run nothing, and stand in no frame. */
export const REFERENCE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
} as const

/** The page of `document`, an OpenAPI 3.1 document; `source` is where that can be had. */
export function renderReference(document: Readonly<Record<string, unknown>>, source: string): string {
  const { info, paths, components } = document as {
    readonly info: { readonly title: string; readonly version: string; readonly description?: string }
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
    readonly components?: { readonly schemas?: Readonly<Record<string, unknown>> }
  }
  const operations = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })))
  const tags = [...new Set(operations.map(({ operation }) => operation.tags?.[0] ?? 'other'))]
  const groups = tags.map((tag) => {
    const inGroup = operations.filter(({ operation }) => (operation.tags?.[0] ?? 'other') === tag)
    return `<h2 id="tag-${escape(tag)}">${escape(tag)}</h2>${inGroup.map(renderOperation).join('')}`
  })
  const schemas = Object.entries(components?.schemas ?? {}).map(
    ([name, schema]) => `<details id="schema-${escape(name)}"><summary><code>${escape(name)}</code></summary>${renderSchema(schema)}</details>`,
  )
  return [
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<title>${escape(info.title)} reference</title><style>${STYLE}</style></head><body>`,
    `<h1>${escape(info.title)} ${escape(info.version)}</h1><p>${escape(info.description ?? '')} <a href="${escape(source)}">OpenAPI document</a></p>`,
    `<nav>${tags.map((tag) => `<a href="#tag-${escape(tag)}">${escape(tag)}</a>`).join('')}<a href="#schemas">schemas</a></nav>`,
    ...groups,
    `<h2 id="schemas">schemas</h2>${schemas.join('')}</body></html>`,
  ].join('\n')
}

function renderOperation({ path, method, operation }: { readonly path: string; readonly method: string; readonly operation: Operation }): string {
  const parameters = (operation.parameters ?? []).map(
    (parameter) =>
      `<tr><td><code>${escape(parameter.name)}</code></td><td>${escape(parameter.in)}${parameter.required === true ? ', required' : ''}</td><td>${escape(parameter.description ?? '')}</td></tr>`,
  )
  const body = Object.values(operation.requestBody?.content ?? {}).map(({ schema }) => `<h4>Body</h4>${renderSchema(schema)}`)
  const answers = Object.entries(operation.responses ?? {}).map(([status, { description, content }]) => {
    const schemas = Object.entries(content ?? {}).map(([type, { schema }]) => `<code>${escape(type)}</code> ${renderSchema(schema)}`)
    return `<tr><td>${escape(status)}</td><td>${escape(description ?? '')}</td><td>${schemas.join('')}</td></tr>`
  })
  return [
    `<details><summary><b>${escape(method.toUpperCase())}</b> <code>${escape(path)}</code> ${escape(operation.summary ?? '')}</summary>`,
    parameters.length === 0 ? '' : `<h4>Parameters</h4><table>${parameters.join('')}</table>`,
    ...body,
    `<h4>Answers</h4><table>${answers.join('')}</table></details>`,
  ].join('')
}

/** A link where the schema has a name, else its text. */
function renderSchema(schema: unknown): string {
  const name = typeof schema === 'object' && schema !== null && '$ref' in schema ? String(schema.$ref).split('/').at(-1) : undefined
  if (name !== undefined) return `<a href="#schema-${escape(name)}"><code>${escape(name)}</code></a>`
  return `<pre>${escape(JSON.stringify(schema, undefined, 2) ?? '')}</pre>`
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}
