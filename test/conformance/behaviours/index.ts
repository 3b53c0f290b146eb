import type { Behaviour } from "../trial.ts";
import { client } from "./client.ts";
import { data } from "./data.ts";
import { draining } from "./draining.ts";
import { failures } from "./failures.ts";
import { progress } from "./progress.ts";
import { protocol } from "./protocol.ts";
import { session } from "./session.ts";
import { work } from "./work.ts";

/** By the part of the protocol that they try, in the order in which an agent's author comes to it. */
export const chapters: Readonly<Record<string, readonly Behaviour[]>> = {
  "Doing tasks": work,
  "Input and output": data,
  Failures: failures,
  "Progress and stopping": progress,
  "Broken connections": session,
  "The stream, frame by frame": protocol,
  Draining: draining,
  "The client": client,
};
