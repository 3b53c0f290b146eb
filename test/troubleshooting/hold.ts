import assert from "node:assert/strict";
import { after, test } from "node:test";
import { difference, indexPath, readPages } from "./page.ts";
import { House, type Provocation, Stage } from "./stage.ts";

/**
 * A test for each provocation: what the pages say of it is what happens.
 * @param whyNot why some cannot be made to happen on this machine
 */
export function holdPageAgainst(
  provocations: Readonly<Record<string, Provocation>>,
  whyNot: Readonly<Record<string, string | undefined>> = {},
): void {
  const house = new House();
  after(() => house[Symbol.asyncDispose]());
  const entries = readPages();
  for (const [name, provoke] of Object.entries(provocations)) {
    const skip = whyNot[name];
    if (skip !== undefined) console.error(`SKIPPED: ${name} of ${indexPath} is not provoked, for ${skip}`);
    test(name, { skip, timeout: 600_000 }, async () => {
      const entry = entries.find((other) => other.name === name);
      assert.ok(entry, `the pages have an entry for ${name}`);
      await using stage = new Stage(house);
      await provoke(stage);
      const what = difference(entry.quotes, stage.shell.printed);
      if (what !== undefined) assert.fail(what);
    });
  }
}
