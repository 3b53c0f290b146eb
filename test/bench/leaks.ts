import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { MemoryGauge } from "#libs/agent/memory.ts";
import { Leak } from "../../services/watchdog/core/leak.ts";

// Real Node.js processes that parse JSON, and keep some of it or not: when is each called leaking, by what the SDK would tell of
// it? Usage: node test/bench/leaks.ts
const mostExecutions = 4_000;
const kinds: Record<string, (parsed: object[], i: number) => void> = {
  "keeps nothing": () => {},
  "keeps 200 objects of each of the last 500": (parsed, i) => void (kept[i % 500] = parsed.slice(0, 200)),
  "keeps 500 objects of each": (parsed) => void kept.push(parsed.slice(0, 500)),
  "keeps a buffer of 64 KiB of each": () => void kept.push(new Uint8Array(2 ** 16).fill(1)),
  "keeps a buffer of 1 MiB of each": () => void kept.push(new Uint8Array(2 ** 20).fill(1)),
};
const kept: unknown[] = [];

const only = process.argv[2];
if (only === undefined) {
  for (const kind of Object.keys(kinds))
    spawnSync(process.execPath, [import.meta.filename, kind], { stdio: "inherit" });
} else {
  console.log(`${only}: ${await run(kinds[only]!)}`);
}

async function run(execute: (parsed: object[], i: number) => void): Promise<string> {
  using gauge = new MemoryGauge();
  const leak = new Leak(0.001 / 5);
  const before = process.memoryUsage.rss();
  let i = 0;
  for (; i < mostExecutions && !leak.isWorse; i++) {
    const objects = Array.from({ length: 1_000 }, (_, k) => ({ k, text: `x${k}${i}` }));
    execute(JSON.parse(JSON.stringify(objects)) as object[], i);
    leak.observe("a", Number(gauge.residentBytes(performance.now())), Number(gauge.heapAfterCollectionBytes));
    await pause(1);
  }
  const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
  const grown = `resident memory ${mib(before)} → ${mib(process.memoryUsage.rss())} MiB`;
  return `${leak.isWorse ? `leaking, after ${i} executions` : `no leak in ${i} executions`} (${grown})`;
}
