import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { type AgentOptions, defineAgent, type LegionAgent, TaskError } from "../index.ts";
import { countWords } from "./count-words.ts";

type DemoOptions = Pick<AgentOptions, "registry" | "log" | "namespace" | "cancelGraceMs">;

/**
 * Four agents to try the mesh with. Their ids are fixed, so that a second process with them replaces the first; `fail` is an
 * agent of its own, lest what it does on purpose be held against the others.
 */
export function demoAgents(options: DemoOptions = {}): LegionAgent[] {
  return [greeter(options), counter(options), sleeper(options), failer(options)];
}

function greeter(options: DemoOptions): LegionAgent {
  return defineAgent({
    ...options,
    name: "greeter",
    agentId: "demo-greeter",
    version: "1.0.0",
    slots: 64,
    capabilities: {
      greet: {
        input: z.object({ name: z.string().min(1).max(1_000) }),
        execute: ({ name }) => ({ greeting: `Hello, ${name}!` }),
      },
    },
  });
}

function counter(options: DemoOptions): LegionAgent {
  return defineAgent({
    ...options,
    name: "counter",
    agentId: "demo-counter",
    version: "1.0.0",
    slots: 256,
    capabilities: {
      wordcount: { input: z.object({ text: z.string() }), execute: ({ text }) => countWords(text) },
    },
  });
}

function sleeper(options: DemoOptions): LegionAgent {
  return defineAgent({
    ...options,
    name: "sleeper",
    agentId: "demo-sleeper",
    version: "1.0.0",
    slots: 256,
    capabilities: {
      sleep: {
        input: z.object({ ms: z.int().min(0).max(86_400_000) }),
        async execute({ ms }, context) {
          // Progress ten times, but not more often than every 100 ms.
          const steps = Math.min(10, Math.max(1, Math.floor(ms / 100)));
          for (let step = 1; step <= steps; step++) {
            await pause(ms / steps, undefined, { signal: context.signal });
            if (steps > 1) context.progress(step / steps, `slept ${Math.round((ms * step) / steps)} of ${ms} ms`);
          }
          return { slept_ms: ms };
        },
      },
    },
  });
}

function failer(options: DemoOptions): LegionAgent {
  return defineAgent({
    ...options,
    name: "failer",
    agentId: "demo-failer",
    version: "1.0.0",
    capabilities: {
      fail: {
        input: z.object({
          message: z.string().max(1_000).default("failed on request"),
          retryable: z.boolean().default(true),
          /** How many attempts fail. Default: all. */
          times: z.int().min(0).optional(),
        }),
        execute({ message, retryable, times = Infinity }, { attempt }) {
          if (attempt <= times) throw new TaskError(message, { code: "DEMO_FAILURE", retryable });
          return { attempt };
        },
      },
    },
  });
}
