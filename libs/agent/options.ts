import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { hostPortList, hostPortText } from "#libs/config/env.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { CapabilityDeclaration } from "./capability.ts";

export interface AgentOptions {
  /** What the program is called; agents of one name are interchangeable but for their version. Default: the class's name. */
  readonly name?: string;
  /** The program's version; rollouts are by it. Default `0`. */
  readonly version?: string;
  /**
   * The durable identity, unique in the namespace: a second process with the same one stops the first. Default:
   * `<name>-<hostname>-<random>`, so that any number of processes run side by side.
   */
  readonly agentId?: string;
  /** The tenant. Default `default`. */
  readonly namespace?: string;
  /** What tasks may ask for, such as `{ region: "eu" }`. At most 64. */
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * How many tasks it takes at once. Default 16: enough to keep handlers that wait for others busy, few enough for those
   * that hold memory. Choose 1 for handlers that burn CPU, hundreds for ones that only wait.
   */
  readonly slots?: number;
  /** What it can do. Default: what the class's `capabilities` property says. */
  readonly capabilities?: readonly (string | CapabilityDeclaration)[];
  /**
   * The Registry as `host:port`, or several separated by commas. Default: LEGION_REGISTRY from the environment; else, with
   * LEGION_PORT_BASE, 127.0.0.1 and that port + 1; else 127.0.0.1:7401.
   */
  readonly registry?: string;
  /** How long a handler may go on after it was asked to stop, in milliseconds; then it is answered for. Default 5,000. */
  readonly cancelGraceMs?: number;
  /** The mesh has welcomed the agent: at its start and after every broken stream. `resumed`: what it holds is still its own. */
  readonly onConnected?: (session: { readonly sessionId: string; readonly resumed: boolean }) => void;
  /** The agent takes nothing new from now on: it was stopped, or an operator asked for that. Called once. */
  readonly onDraining?: (reason: string) => void;
  /** Default: JSON lines on standard output, under the agent's name. */
  readonly log?: Logger;
}

/** @throws TypeError when an address is not `host:port`. */
export function registryTargets(registry: string | undefined, env: NodeJS.ProcessEnv = process.env): string[] {
  const portBase = Number(env["LEGION_PORT_BASE"] || 7_400);
  const text = registry || env["LEGION_REGISTRY"] || `127.0.0.1:${portBase + 1}`;
  try {
    return hostPortList({ doc: "The Registry" }).parse(text)!.map(hostPortText);
  } catch (cause) {
    throw new TypeError(`${text} is no address of a Registry: expected host:port, such as 127.0.0.1:7401.`, { cause });
  }
}

/** Tells processes apart, and people which machine it runs on. */
export function defaultAgentId(name: string): string {
  return `${name.slice(0, 64)}-${hostname().slice(0, 48)}-${randomBytes(4).toString("hex")}`;
}
