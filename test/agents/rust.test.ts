import { test } from "node:test";
import { run } from "../harness/run-program.ts";
import { cargo, rust, rustFolder } from "../conformance/languages/rust.ts";

const skip = rust.whyNot();
if (skip !== undefined) console.error(`SKIPPED: the Rust example is not tested, for ${skip}`);
const options = { ...(skip !== undefined && { skip }), timeout: 20 * 60_000 };

test("the Rust example's bookkeeping holds", options, () => cargo("test", "--lib"));

test("clippy finds nothing in the Rust example", options, () =>
  cargo("clippy", "--all-targets", "--", "--deny", "warnings"),
);

test("the Rust example is formatted", options, async () => {
  await run("cargo", ["fmt", "--check"], { cwd: rustFolder });
});
