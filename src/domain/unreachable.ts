/** Ends a `switch` over a tag: the compiler refuses a missing case, and a value from elsewhere throws. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}
