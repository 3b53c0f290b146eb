import assert from "node:assert/strict";
import { test } from "node:test";
import { readText } from "../checks/repository.ts";
import { difference, indexPath, readPage, readPages } from "./page.ts";
import { all } from "./provocations/all.ts";

test("every entry has a provocation, and every provocation an entry", () => {
  const entries = readPages();
  const unnamed = entries.filter(({ name }) => name === undefined).map(({ title }) => title);
  assert.deepEqual(unnamed, [], "entries that name no command that provokes them");
  const names = entries.map((one) => one.name ?? "");
  assert.deepEqual(names.toSorted(), Object.keys(all).toSorted());
  for (const { title, quotes } of entries) assert.ok(quotes.length >= 2, `${title}: a symptom and what to do`);
});

test("the index has every symptom, with its title, and no other", () => {
  const index = readText(indexPath).match(/(?<=^- ).*$/gm) ?? [];
  const entries = readPages().map(({ title, link }) => `[${title}](${link})`);
  assert.deepEqual([...index].toSorted(), entries.toSorted());
});

const entry = `# Page

## Trouble

\`\`\`console
$ ask ‹1›
Port 7401 is ‹taken›,
by … pid.
The end
# select 1;
\`\`\`
Provoked by \`npx node test/troubleshooting/provoke.ts trouble\`.
## Other
`;
const [{ name, quotes }] = readPage("docs/troubleshooting/page.md", entry) as [ReturnType<typeof readPage>[number]];
const happened = [
  { head: "$ ask 2", text: "> Port 7401 is free now, by some\nother pid.\nNot quoted\nThe end\n" },
  { head: "# select 1;", text: "1" },
];

test("an entry is read with its commands and what they print", () => {
  assert.equal(name, "trouble");
  assert.deepEqual(
    quotes.map(({ head }) => head),
    ["$ ask ‹1›", "# select 1;"],
  );
  assert.equal(difference(quotes, happened), undefined);
});

test("what is printed otherwise is a difference", () => {
  const [first, second] = happened as [(typeof happened)[0], (typeof happened)[0]];
  const otherwise = { ...first, text: first.text.replace("7401", "7402") };
  assert.match(
    difference(quotes, [otherwise, second]) ?? "",
    /The page says of \$ ask 2\n.*\n.*\nbut this was printed/s,
  );
  assert.match(difference(quotes, [{ ...first, head: "$ asks 2" }, second]) ?? "", /where this happened:\n\$ asks 2/);
  assert.match(difference(quotes, [first]) ?? "", /did not happen:\n# select 1;/);
  assert.match(difference(quotes, [...happened, first]) ?? "", /The page lacks\n\$ ask 2/);
});
