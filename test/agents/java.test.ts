import { join } from "node:path";
import { test } from "node:test";
import { built, protoFiles } from "../harness/build-cache.ts";
import { repositoryRoot, run } from "../harness/run-program.ts";
import { java } from "../conformance/languages/java.ts";

const skip = java.whyNot();
if (skip !== undefined) console.error(`SKIPPED: the Java agent's own tests are not run, for ${skip}`);

const project = join(repositoryRoot, "test/agents/java");

// Passed once, they are run again when a source, the build or a contract has changed.
test("the Java agent's bookkeeping, and its format", { skip, timeout: 600_000 }, async () => {
  await built("java", [join(project, "pom.xml"), join(project, "src/**/*.java"), protoFiles], (folder) =>
    run("mvn", ["-B", "-ntp", "-q", "-f", project, `-DbuildDirectory=${folder}`, "verify"]),
  );
});
