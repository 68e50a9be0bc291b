import { z } from 'zod'
import { ConvokeError } from '../../domain/errors.ts'

/** A whole number in a query, with bounds. */
export function intQuery(least: number, most: number) {
  return z
    .string()
    .regex(/^\d{1,16}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(least).max(most))
}

/** The query of `url` as `schema` reads it; parameters that it does not know are ignored. @throws {ConvokeError} `invalid_request` */
export function parseQuery<T>(url: URL, schema: z.ZodType<T>): T {
  const result = schema.safeParse(Object.fromEntries(url.searchParams))
  if (result.success) return result.data
  const errors = result.error.issues.map((issue) => ({ pointer: `?${issue.path.join('.')}`, detail: issue.message }))
  throw new ConvokeError('invalid_request', `${errors[0]?.pointer ?? ''} ${errors[0]?.detail ?? 'the query is not valid'}`, { errors })
}
