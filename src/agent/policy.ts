/** Which calls run, ask or are refused. */
import type { AutoApprove, Disposition } from '../domain/event.ts'
import type { Tool } from '../domain/tool.ts'

/** The server's policy. `none` asks for all, `all` approves all, `custom` follows `rules`, then the tool's own nature. */
export interface ApprovalPolicy {
  readonly mode: 'none' | 'all' | 'custom'
  /** By tool name. */
  readonly rules: Readonly<Record<string, Disposition>>
  /** For a tool without a rule that does more than look. */
  readonly default: Disposition
}

/** Looking passes, everything else asks. */
export const DEFAULT_POLICY: ApprovalPolicy = { mode: 'custom', rules: {}, default: 'ask' }

/**
 * What is to happen with a call of `name`.
 *
 * A run's `autoApprove` widens or narrows what would be asked; what a rule denies stays denied.
 */
export function disposition(policy: ApprovalPolicy, autoApprove: AutoApprove | undefined, name: string, tool: Tool | undefined): Disposition {
  const own = ofPolicy(policy, name, tool)
  if (own === 'deny' || autoApprove === undefined) return own
  if (autoApprove === 'all') return 'approve'
  if (autoApprove === 'none') return 'ask'
  return autoApprove.includes(name) ? 'approve' : 'ask'
}

function ofPolicy(policy: ApprovalPolicy, name: string, tool: Tool | undefined): Disposition {
  if (policy.mode === 'all') return 'approve'
  if (policy.mode === 'none') return 'ask'
  const rule = Object.hasOwn(policy.rules, name) ? policy.rules[name] : undefined
  return rule ?? (tool?.readOnly === true ? 'approve' : policy.default)
}
