import assert from "node:assert/strict";
import { test } from "node:test";
import { behindCommand } from "#libs/cli/leading-options.ts";

test("a command's options may stand before it", () => {
  assert.deepEqual(behindCommand(["--port-base", "7500", "--json", "health"]), [
    "health",
    "--port-base",
    "7500",
    "--json",
  ]);
  assert.deepEqual(behindCommand(["--port-base=7500", "run", "greet", "{}"]), [
    "run",
    "--port-base=7500",
    "greet",
    "{}",
  ]);
});

test("what is no such option stays where it is", () => {
  for (const args of [["run", "greet"], ["--help"], ["--port-base", "7500"], ["--port-base", "7500", "--help"], []]) {
    assert.deepEqual(behindCommand(args), args);
  }
});
