import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const runner = fileURLToPath(new URL("../run.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "legion-runner-"));
after(() => rmSync(folder, { recursive: true }));

function runTests(source: string, { env = {}, args = [] as string[] } = {}) {
  const file = join(folder, `${Math.random().toString(36).slice(2)}.test.ts`);
  writeFileSync(file, `import { describe, test } from "node:test";\n${source}`);
  const { status, stdout } = spawnSync(process.execPath, [runner, file, ...args], {
    encoding: "utf8",
    env: { ...process.env, CI: "", ...env },
  });
  return { status, stdout, last: stdout.trimEnd().split("\n").at(-1) };
}

test("tests are counted, suites are not, and the last line says how many", () => {
  const { status, stdout, last } = runTests(`
    describe("suite", () => { test("a", () => {}); test("b", () => {}); });
    test("parent", async (t) => { await t.test("child", () => {}); });`);
  assert.equal(last, "4 passed, 0 failed");
  assert.equal(status, 0);
  assert.match(stdout, /^ok .*\.test\.ts +\d+\.\d s {2}4 passed, 0 failed$/m);
});

test("a failure is shown in full with its place, once, under all its names", () => {
  const { status, stdout, last } = runTests(`
    test("outer", async (t) => { await t.test("inner", () => {
      throw new Error("broken", { cause: new Error("root of it") }); }); });
    test("fine", () => {});`);
  assert.deepEqual([status, last], [1, "1 passed, 1 failed"]);
  assert.match(stdout, /FAILED: outer › inner \(.*\n.*\.test\.ts:3\n {2}Error: broken\n[^]*root of it/);
  assert.equal(stdout.match(/FAILED/g)?.length, 1);
});

test("a skipped test is named with its reason, and fails under CI", () => {
  const source = `test("runs", () => {}); test("needs much", { skip: "no room" }, () => {}); test.todo("someday");
    describe("whole", { skip: "all of it" }, () => { test("x", () => {}); });`;
  const { status, stdout, last } = runTests(source);
  assert.deepEqual([status, last], [0, "1 passed, 0 failed, 3 skipped"]);
  assert.match(stdout, /skipped: needs much \(.*\)\n {2}no room\n/);
  assert.match(stdout, /skipped: someday \(.*\)\n {2}to do: /);
  assert.match(stdout, /skipped: whole \(.*\)\n {2}all of it\n/);
  assert.equal(runTests(source, { env: { CI: "true" } }).status, 1);
  assert.equal(runTests(`test("runs", () => {});`, { env: { CI: "true" } }).status, 0);
});

test("a file that crashes, loads nothing, errs late or has no test fails", () => {
  const failing: [string, RegExp][] = [
    [
      `test("a", () => {}); test("b", () => new Promise(() => setTimeout(() => process.exit(0), 20)));`,
      /It ended \(code 0\) during "b"/,
    ],
    [`test("a", () => process.exit(0));`, /without the result of any test/],
    [`test("a", () => {}); process.kill(process.pid, "SIGKILL");`, /It ended \(SIGKILL\)/],
    [`import "./missing.ts";`, /ERR_MODULE_NOT_FOUND/],
    [`test("a", () => {}); undefinedName;`, /ReferenceError: undefinedName is not defined/],
    [`test("a", () => { setTimeout(() => { throw new Error("too late"); }, 20); });`, /outside its tests[^]*too late/],
    [``, /without the result of any test/],
  ];
  for (const [source, said] of failing) {
    const { status, stdout, last } = runTests(source);
    assert.equal(status, 1, source);
    assert.match(stdout, said);
    assert.match(last ?? "", /^[01] passed, 1 failed$/);
  }
});

test("a file that hangs is killed with what it started, even if it ignores SIGTERM", async () => {
  const pidFile = join(folder, "pid");
  const { status, stdout, last } = runTests(
    `import { spawn } from "node:child_process"; import { writeFileSync } from "node:fs";
     test("fine", () => {});
     test("hangs", async () => {
       process.on("SIGTERM", () => {});
       const left = spawn(process.execPath, ["-e", "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"]);
       writeFileSync(${JSON.stringify(pidFile)}, String(left.pid));
       setInterval(() => {}, 1000);
       await new Promise(() => {});
     });`,
    { args: ["--timeout-ms", "2000"] },
  );
  assert.deepEqual([status, last], [1, "1 passed, 1 failed"]);
  assert.match(stdout, /It was still running after 2 s during "hangs" and was killed/);
  assert.ok(!isRunning(Number(readFileSync(pidFile, "utf8"))));
});

test("a pattern that matches nothing is a failure", () => {
  const { status, stderr } = spawnSync(process.execPath, [runner, join(folder, "none")], { encoding: "utf8" });
  assert.deepEqual([status, /No test file matches/.test(stderr)], [1, true]);
});

test("what takes a quarter of an hour to prepare is run by its name or with --all", () => {
  for (const name of ["kubernetes", "other"]) {
    mkdirSync(join(folder, "test", name), { recursive: true });
    writeFileSync(join(folder, "test", name, "a.test.ts"), `import { test } from "node:test"; test("a", () => {});`);
  }
  const count = (...args: string[]): string | undefined => {
    // Nothing is to be prepared for it: without Go's tools there is nothing to prepare with.
    const env = { ...process.env, CI: "", PATH: "" };
    const { stdout } = spawnSync(process.execPath, [runner, ...args], { cwd: folder, encoding: "utf8", env });
    return stdout.trimEnd().split("\n").at(-1);
  };
  assert.equal(count(), "1 passed, 0 failed");
  assert.equal(count("--all"), "2 passed, 0 failed");
  assert.equal(count("test/kubernetes"), "1 passed, 0 failed");
});

/** Whether the process is there and no zombie that waits for its reaper. */
function isRunning(pid: number): boolean {
  const { stdout } = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" });
  return /^[^Z\s]/.test(stdout.trim());
}
