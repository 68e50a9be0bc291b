/**
 * What a user's message tells the scripted model to do. The message carries it as text, so that the model needs no memory: it looks
 * at the last message and at the answers behind it, as a model does, and a killed server changes nothing for it.
 */

/** One call that the model makes. `CALL` in its arguments stands for the call's id. */
export interface ScriptCall {
  readonly tool: string
  readonly args: Readonly<Record<string, unknown>>
  /** The arguments as they are streamed, in place of `args`: for what is no JSON. */
  readonly raw?: string
}

/** One answer of the model. */
export interface ScriptTurn {
  readonly words: number
  readonly calls: readonly ScriptCall[]
  /** The first request for this turn is refused by the provider, to be tried again. */
  readonly flaky?: boolean
}

/** All of them; behind the last one the model says that it is done. */
export interface Script {
  /** Names the message, once in all sessions. */
  readonly key: string
  readonly turns: readonly ScriptTurn[]
}

const PREFIX = 'do '

/** The text of the message that asks for `script`. */
export function textOf(script: Script): string {
  return `${PREFIX}${JSON.stringify(script)}`
}

/** The script in a message's text, if it is one. */
export function scriptIn(text: string): Script | undefined {
  return text.startsWith(PREFIX) ? (JSON.parse(text.slice(PREFIX.length)) as Script) : undefined
}
