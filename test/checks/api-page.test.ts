import assert from "node:assert/strict";
import { test } from "node:test";
import { apiPage } from "./api-page.ts";
import { readText } from "./repository.ts";

test("docs/api.md says what the contracts say (npm run docs)", () => {
  const page = readText("docs/api.md");
  assert.equal(page, apiPage());
  const undocumented = page.split("\n").filter((line) => /^\| `.*\| *\|$/.test(line));
  assert.deepEqual(undocumented, []);
});
