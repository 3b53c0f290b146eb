import { relative } from "node:path";
import type { TestEvent } from "node:test/reporters";
import { inspect } from "node:util";

/** What the process of a test file tells the runner. */
export type Message =
  | { readonly ended: Ended }
  /** What node:test has to say of the file, such as an error that came after the tests it belongs to. */
  | { readonly remark: string }
  /** The name of a test whose code begins to run, and of one that is over. */
  | { readonly began: string }
  | { readonly over: string }
  | { readonly finished: true };

export interface Ended {
  /** With the names of the tests and suites around it. */
  readonly name: string;
  /** `container`: a suite, or a test that failed through its subtests alone. */
  readonly result: "passed" | "failed" | "skipped" | "container";
  /** Why it was skipped, or where the test stands and the failure in full. */
  readonly detail: string;
}

const send = (message: Message): void => void process.send?.(message);

// A runner that was killed takes its test files with it.
process.once("disconnect", () => process.exit(1));
process.channel?.unref();

/** A reporter for node:test that sends each result to the parent process and writes nothing. */
// oxlint-disable-next-line require-yield -- what a reporter yields is written
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<never, void> {
  const path: string[] = [];
  for await (const { type, data } of events) {
    if (type === "test:diagnostic" && /^(Error|Warning): /.test(data.message)) send({ remark: data.message });
    if (type === "test:dequeue" && data.type !== "suite") send({ began: data.name });
    if (type === "test:complete" && data.details.type !== "suite") send({ over: data.name });
    if (type !== "test:start" && type !== "test:pass" && type !== "test:fail") continue;
    path.length = data.nesting;
    path[data.nesting] = data.name;
    if (type !== "test:start") send({ ended: describe(type, data, path.join(" › ")) });
  }
  send({ finished: true });
}

type PassOrFail = Extract<TestEvent, { type: "test:pass" | "test:fail" }>;

function describe(type: PassOrFail["type"], data: PassOrFail["data"], name: string): Ended {
  const excuse = [data.skip, data.todo].find((reason) => reason !== undefined && reason !== false);
  if (excuse !== undefined) {
    const reason = typeof excuse === "string" ? excuse : "no reason given";
    return { name, result: "skipped", detail: data.todo === undefined ? reason : `to do: ${reason}` };
  }
  const { error, type: kind } = data.details as { error?: Error & { failureType?: string }; type?: string };
  if (type === "test:pass") return { name, result: kind === "suite" ? "container" : "passed", detail: "" };
  if (error?.failureType === "subtestsFailed") return { name, result: "container", detail: "" };
  const place = `${relative(process.cwd(), data.file ?? "")}:${data.line ?? 1}`;
  return { name, result: "failed", detail: `${place}\n${inspect(error?.cause ?? error, { depth: 8 })}` };
}
