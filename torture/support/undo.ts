/** What a part undoes at its end, and what is said of what fails. */

/** What an error says, on one line. */
export function said(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return `${error instanceof Error ? error.message : String(error)}${cause}`.replaceAll('\n', ' ').slice(0, 400)
}

/** Things to undo at the end of a part, last first, each of them even where another fails. */
export class Undo {
  readonly #steps: (() => unknown)[] = []

  add(step: () => unknown): void {
    this.#steps.push(step)
  }

  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).toReversed()) {
      try {
        await step()
      } catch (error) {
        console.error(`   cleaning up failed: ${said(error)}`)
      }
    }
  }
}
