import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { repositoryRoot } from "../harness/run-program.ts";
import { drawTrace } from "./draw-trace.ts";
import { runMixedPath } from "./mixed-path.ts";

// Usage: node test/traces/draw.ts [FILE]: takes the mixed path, and draws what Jaeger has of it; by default docs/trace.svg.
const file = process.argv[2] ?? join(repositoryRoot, "docs/trace.svg");
await using path = await runMixedPath();
const title = "One trace over three languages: a client in TypeScript, an agent in Python that fails, and one in Go";
await writeFile(file, drawTrace(path.spans, title));
console.log(`${path.spans.length} spans of trace ${path.traceId} are drawn in ${file}`);
