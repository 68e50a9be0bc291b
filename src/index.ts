/** The public surface of the package. */
export { Server } from './server.ts'
export type { AuthOption, ServerOptions } from './server.ts'
export type { ServerEvents } from './server-events.ts'
export { defineTool } from './tool/define.ts'
export type { ToolDefinition } from './tool/define.ts'
export type { Tool, ToolContext, ToolResult } from './domain/tool.ts'
export type { Agent, RunContext } from './runtime/agent.ts'
export { defineAgent } from './runtime/define.ts'
export type {
  AgentContext,
  AgentDefinition,
  AgentInput,
  ApprovalAnswer,
  ApprovalRequest,
  ArrivedMessage,
  DefinedAgent,
  GenerateRequest,
  Generated,
  StepContext,
  StepOptions,
  ToolAnswer,
} from './runtime/define.ts'
export { StepError, StepInterrupted } from './runtime/step-errors.ts'
export { ConvokeError } from './domain/errors.ts'
export type { ErrorCode } from './domain/errors.ts'
