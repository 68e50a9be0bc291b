import { expect, test } from 'vitest'
import type { AutoApprove, Disposition } from '../domain/event.ts'
import { scriptedTool } from '../testing/scripted-tool.ts'
import { DEFAULT_POLICY, disposition, type ApprovalPolicy } from './policy.ts'

const READ = scriptedTool('read', { readOnly: true })
const BASH = scriptedTool('bash')
const custom = (rules: Readonly<Record<string, Disposition>>, otherwise: Disposition = 'ask'): ApprovalPolicy => ({ mode: 'custom', rules, default: otherwise })
const of = (policy: ApprovalPolicy, name: string, autoApprove?: AutoApprove) => {
  return disposition(
    policy,
    autoApprove,
    name,
    [READ, BASH].find((tool) => tool.name === name),
  )
}

test('the default looks freely and asks for the rest', () => {
  expect(DEFAULT_POLICY).toEqual({ mode: 'custom', rules: {}, default: 'ask' })
  expect(of(DEFAULT_POLICY, 'read')).toBe('approve')
  expect(of(DEFAULT_POLICY, 'bash')).toBe('ask')
})

test.each<[string, ApprovalPolicy, string, Disposition]>([
  ['none asks for all', { mode: 'none', rules: {}, default: 'approve' }, 'bash', 'ask'],
  ['none asks for looking too', { mode: 'none', rules: { read: 'approve' }, default: 'approve' }, 'read', 'ask'],
  ['all approves all', { mode: 'all', rules: {}, default: 'ask' }, 'bash', 'approve'],
  ['all knows no rules', { mode: 'all', rules: { bash: 'deny' }, default: 'deny' }, 'bash', 'approve'],
  ['a rule approves', custom({ bash: 'approve' }), 'bash', 'approve'],
  ['a rule denies', custom({ bash: 'deny' }), 'bash', 'deny'],
  ['a rule asks for a tool that only looks', custom({ read: 'ask' }), 'read', 'ask'],
  ['a rule denies a tool that only looks', custom({ read: 'deny' }), 'read', 'deny'],
  ['without a rule the default counts', custom({ read: 'ask' }, 'deny'), 'bash', 'deny'],
  ['the default does not bind what only looks', custom({}, 'deny'), 'read', 'approve'],
  ['an unknown tool takes the default', custom({}), 'nothing', 'ask'],
  ['a rule is not inherited from objects', custom({}, 'deny'), 'toString', 'deny'],
])('%s', (_what, policy, name, expected) => {
  expect(of(policy, name)).toBe(expected)
})

test.each<[string, ApprovalPolicy, AutoApprove, string, Disposition]>([
  ['all approves what would be asked', DEFAULT_POLICY, 'all', 'bash', 'approve'],
  ['all does not lift a denial', custom({ bash: 'deny' }), 'all', 'bash', 'deny'],
  ['none asks for what would pass', { mode: 'all', rules: {}, default: 'ask' }, 'none', 'bash', 'ask'],
  ['none asks for looking', DEFAULT_POLICY, 'none', 'read', 'ask'],
  ['none does not lift a denial', custom({ bash: 'deny' }), 'none', 'bash', 'deny'],
  ['named tools pass', DEFAULT_POLICY, ['bash'], 'bash', 'approve'],
  ['other tools ask', DEFAULT_POLICY, ['bash'], 'read', 'ask'],
  ['no names ask for all', { mode: 'all', rules: {}, default: 'ask' }, [], 'bash', 'ask'],
  ['a name does not lift a denial', custom({}, 'deny'), ['bash'], 'bash', 'deny'],
])('a run’s own %s', (_what, policy, autoApprove, name, expected) => {
  expect(of(policy, name, autoApprove)).toBe(expected)
})
