import assert from "node:assert/strict";
import { test } from "node:test";
import type { TraceSpan } from "#libs/cli/trace/trace-span.ts";
import { drawTrace } from "./draw-trace.ts";

const span = (spanId: string, parentId: string | undefined, startUs: number, durationUs: number): TraceSpan => {
  const failure = spanId === "c" ? 'no <bed> & "no" sleep' : "";
  const common = { name: `step ${spanId}`, service: `service ${spanId}`, attributes: {} };
  return { ...common, spanId, parentId, startUs, durationUs, failed: failure !== "", failure };
};

test("bars stand where and as long as their spans were, and text cannot break the picture", () => {
  const svg = drawTrace(
    [span("a", undefined, 5_000, 1_000), span("b", "a", 5_250, 500), span("c", "b", 5_999, 1)],
    "A <trace>",
  );
  const bars = [...svg.matchAll(/<rect class="s(\d)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"/g)].map((bar) =>
    bar.slice(1).map(Number),
  ) as [number, number, number, number][];
  assert.equal(bars.length, 3);
  const [a, b, c] = bars as [(typeof bars)[0], (typeof bars)[0], (typeof bars)[0]];
  assert.deepEqual([a[0], b[0], c[0]], [0, 1, 2], "a colour for each service");
  assert.ok(Math.abs(b[1] - (a[1] + a[3] / 4)) < 0.2 && Math.abs(b[3] - a[3] / 2) < 0.2);
  assert.ok(a[2] < b[2] && b[2] < c[2] && c[3] >= 2, "the shortest is still to be seen");
  assert.match(svg, /✗ no &lt;bed&gt; &amp; &quot;no&quot; sleep/);
  assert.match(svg, /aria-label="A &lt;trace&gt;"/);
  assert.doesNotMatch(svg, /NaN|undefined|<bed>/);
});
