export { AgentError } from "./agent-error.ts";
export { LegionAgent, type StartOptions, type StopOptions } from "./agent.ts";
export type { CapabilityDeclaration, JsonSchema } from "./capability.ts";
export type { CommandOptions, CommandResult } from "./command/command-options.ts";
export { runCommand } from "./command/run-command.ts";
export { type AgentDefinition, type CapabilityDefinition, type DataOf, defineAgent } from "./define-agent.ts";
export type { TaskData } from "./json.ts";
export type { AgentOptions } from "./options.ts";
export type { AllowedPackage } from "./packages/allow-list.ts";
export {
  type InstalledPackage,
  type InstallOptions,
  type InstallPackage,
  packageInstaller,
  type PackageInstallerOptions,
} from "./packages/package-installer.ts";
export type { Ecosystem } from "./packages/package-names.ts";
export type { AgentState, AgentStatus } from "./status.ts";
export type { TaskContext } from "./task-context.ts";
export { AttemptCanceled, type CancelCauseName, TaskError, type TaskErrorOptions } from "./task-error.ts";
export {
  closeMeshLimits,
  type Limiter,
  rateLimit,
  RateLimitedError,
  type RateLimitOptions,
  SlidingWindowLimiter,
  TokenBucketLimiter,
} from "#libs/limits/index.ts";
