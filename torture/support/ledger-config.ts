/** A server whose model is scripted and whose tools write to the ledger. */
import { fileURLToPath } from 'node:url'
import type { ConfigInput } from '../../src/config-schema.ts'
import type { ToolRules } from './ledger.ts'
import { SCRIPTED_MODEL } from './scripted-provider.ts'

const TOOLS = fileURLToPath(new URL('./ledger-tools.ts', import.meta.url))

/** Of the harness' tools: what they were declared as, and what policy says of them. */
export const LEDGER_TOOL_RULES: ToolRules = { repeatable: (tool) => tool === 'look' || tool === 'note', asked: (tool) => tool === 'launch' }

/** The configuration, with its scripted provider at `url`. */
export function ledgerConfig(url: string): ConfigInput {
  return {
    models: { default: SCRIPTED_MODEL, discover: false },
    providers: { scripted: { kind: 'openai-compatible', baseURL: url, apiKey: 'none' } },
    tools: [TOOLS],
    approvals: { rules: { note: 'approve', pay: 'approve', bash: 'approve', launch: 'ask' } },
  }
}
