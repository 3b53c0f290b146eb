import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { packageInstaller, TaskError } from "#libs/agent/index.ts";
import { AllowList } from "#libs/agent/packages/allow-list.ts";
import { type NpmLock, refusalsOf } from "#libs/agent/packages/npm-tree.ts";
import type { Ecosystem } from "#libs/agent/packages/package-names.ts";

const names = {
  npm: ["left-pad", "@acme/tool.kit", "is_odd", "k"],
  pypi: ["Left-Pad", "zope.interface", "typing_extensions", "k"],
};

/** PEP 503 by another way than a regular expression. */
function pep503(name: string): string {
  const parts = Array.from(name, (unit) => ("-_.".includes(unit) ? "-" : unit.toLowerCase()));
  return parts.filter((unit, index) => unit !== "-" || parts[index - 1] !== "-").join("");
}

function checked(list: AllowList, name: unknown, version: unknown) {
  try {
    return list.check(name, version);
  } catch (error) {
    assert.ok(error instanceof TaskError, String(error));
    assert.deepEqual([error.code, error.retryable], ["PACKAGE_REFUSED", false]);
    assert.match(error.message, /^[ -~“”]*(\(.{1,2}\))?[ -~]*$/u);
    return undefined;
  }
}

/** A name from the list with a few changes, such as an attacker would make or a person by mistake. */
function nearly(ecosystem: Ecosystem): fc.Arbitrary<string> {
  const bits = fc.oneof(
    fc.constantFrom(
      "",
      "-",
      "_",
      ".",
      "..",
      "--",
      " ",
      "\n",
      "\0",
      "/",
      "@",
      ":",
      "=",
      "^",
      "%2f",
      "\u212a",
      "\u0430",
      "\u200b",
    ),
    fc.constantFrom(
      "e",
      "E",
      "0",
      "git+https://",
      "npm:",
      "../",
      "-r ",
      "--global",
      "\u202e",
      "e\u0301",
      "\uff0d",
      "\ud83d\ude00",
    ),
    fc.string({ unit: "binary", maxLength: 3 }),
  );
  const change = fc.tuple(fc.nat(20), fc.nat(1), bits);
  return fc.tuple(fc.constantFrom(...names[ecosystem]), fc.array(change, { maxLength: 3 })).map(([name, changes]) => {
    return changes.reduce((text, [at, cut, bit]) => text.slice(0, at) + bit + text.slice(at + cut), name);
  });
}

for (const ecosystem of ["npm", "pypi"] as const) {
  test(`${ecosystem}: nothing outside the allow list passes, and all that is on it does`, () => {
    const list = new AllowList(ecosystem, names[ecosystem]);
    const allowed = new Set(names[ecosystem].map((name) => (ecosystem === "npm" ? name : pep503(name))));
    let passed = 0;
    const given = fc.oneof({ weight: 9, arbitrary: nearly(ecosystem) }, fc.string({ unit: "binary" }));
    const property = fc.property(given, (name) => {
      const found = checked(list, name, "1.2.3");
      const normal = ecosystem === "npm" ? name : pep503(name);
      const ascii = Array.from(name).every((unit) => unit > " " && unit <= "~");
      const edges = ecosystem === "npm" || (!"-_.".includes(name.at(0) ?? "-") && !"-_.".includes(name.at(-1) ?? "-"));
      const expected = ascii && edges && !name.includes("..") && allowed.has(normal);
      assert.equal(found?.name, expected ? normal : undefined);
      if (found !== undefined) passed++;
    });
    fc.assert(property, { numRuns: 2_000 });
    assert.ok(passed > 100, `only ${passed} of the names were good`);
  });

  test(`${ecosystem}: a version is exact or refused`, () => {
    const list = new AllowList(ecosystem, ["k"]);
    const word = fc.constantFrom(
      "1",
      "0",
      "20",
      ".",
      "*",
      "x",
      ">=",
      "^",
      "~",
      "v",
      "=",
      " ",
      ",",
      "||",
      "-",
      "rc1",
      "a",
      "/",
      "\u0661",
      "\n",
    );
    const property = fc.property(fc.array(word, { maxLength: 7 }), (words) => {
      const found = checked(list, "k", words.join(""))?.version;
      if (found === undefined) return;
      assert.equal(found, words.join(""));
      assert.match(found, /^\d/);
      assert.doesNotMatch(found, /[^0-9a-zA-Z.-]/);
      assert.doesNotMatch(found.split("-")[0]!, /x|\.\.|(^|\.)0\d|\.$/);
    });
    fc.assert(property, { numRuns: 1_000 });
    const good = { npm: ["1.2.3", "0.0.0-rc.1", "1.0.0-x-y"], pypi: ["1", "2024.8.30", "1!2.0rc1.post2.dev3"] }[
      ecosystem
    ];
    for (const version of good) assert.equal(list.check("k", version).version, version);
    for (const version of [
      "latest",
      "^1.2.3",
      "1.x",
      "1.2.*",
      "v1.2.3",
      "1.2.3 ",
      "1.2.3\n",
      "01.2.3",
      "",
      "1.2.3+a",
      "../1",
      "--pre",
    ]) {
      assert.equal(checked(list, "k", version), undefined, version);
    }
    for (const value of [undefined, null, 1, ["1.2.3"], { toString: () => "1.2.3" }]) {
      assert.equal(checked(list, "k", value), undefined);
      assert.equal(checked(list, value, "1.2.3"), undefined);
    }
  });
}

test("a refusal says what was wrong and what is allowed", async () => {
  const directory = "/nowhere";
  const npm = packageInstaller({
    ecosystem: "npm",
    allow: ["b", { name: "a", versions: ["1.0.0", "1.0.1"] }],
    directory,
  });
  const pypi = packageInstaller({ ecosystem: "pypi", allow: ["requests"], directory });
  const none = packageInstaller({ ecosystem: "pypi", allow: [], directory });
  const says = (running: Promise<unknown>, message: RegExp) =>
    assert.rejects(running, { code: "PACKAGE_REFUSED", message });
  await says(npm("c", "1.0.0"), /^The package "c" is not on the allow list; allowed: a, b\.$/);
  await says(npm("a", "1.0.2"), /^a 1\.0\.2 is not on the allow list; allowed of it: 1\.0\.0, 1\.0\.1\.$/);
  await says(npm("A", "1.0.0"), /^"A" is no package name: an npm name is lower-case/);
  await says(npm("https://example.com/a.tgz", "1.0.0"), /is no package name/);
  await says(npm("--global", "1.0.0"), /is no package name/);
  await says(npm("../a", "1.0.0"), /contains "\.\."/);
  await says(npm("a", "latest"), /^"latest" is no version: exactly one version is needed, such as 1\.2\.3/);
  await says(
    npm("а", "1.0.0"),
    /^The package name "\\u0430" contains U\+0430 \(а\) at position 1: only ASCII is allowed\.$/,
  );
  await says(pypi("re\u202equests", "1.0"), /"re\\u202equests" contains U\+202E at position 3: only ASCII/);
  await says(pypi("requests ", "1.0"), /contains U\+0020 at position 9: spaces and control characters are not allowed/);
  await says(pypi("r".repeat(215), "1.0"), /longer than 214 characters/);
  await says(none("requests", "1.0"), /allowed: nothing, the list is empty/);
  await says(npm("__proto__", "1.0.0"), /is no package name/);
  await says(npm("constructor", "1.0.0"), /is not on the allow list/);
});

test("an allow list that cannot be meant is refused", () => {
  const bad = [["^a"], ["a@1.0.0"], [{ name: "a", versions: [] }], [{ name: "a", versions: ["1.x"] }], ["a", "a"]];
  for (const allow of bad) assert.throws(() => new AllowList("npm", allow), TypeError, JSON.stringify(allow));
  assert.throws(() => new AllowList("pypi", ["A.b", "a_b"]), /has a-b twice/);
  assert.throws(() => new AllowList("maven" as Ecosystem, []), /no ecosystem maven/);
});

test("a resolved tree is refused for each thing in it that is not allowed", () => {
  const list = new AllowList("npm", ["a", { name: "b", versions: ["2.0.0"] }]);
  const refusals = (packages: NpmLock["packages"]) => refusalsOf({ packages: packages! }, list);
  const top = {
    "": { dependencies: { a: "1.0.0" } },
    "node_modules/a": { version: "1.0.0", dependencies: { b: "^2.0.0" } },
  };
  assert.deepEqual(refusals({ ...top, "node_modules/b": { version: "2.0.0" } }), []);
  const bad: [NonNullable<NpmLock["packages"]>, RegExp][] = [
    [{ "node_modules/b": { version: "2.0.1" } }, /b 2\.0\.1 is not on the allow list; allowed of it: 2\.0\.0/],
    [{ "node_modules/a/node_modules/c": { version: "1.0.0" } }, /"c" is not on the allow list/],
    [{ "node_modules/b": { name: "evil", version: "2.0.0" } }, /"evil" is not on the allow list/],
    [{ "node_modules/b": { version: "2.0.0", link: true } }, /is a link/],
    [{ elsewhere: { version: "2.0.0", name: "b" } }, /is a link/],
    [{ "node_modules/b": { version: "2.0.0", hasShrinkwrap: true } }, /npm-shrinkwrap\.json of its own/],
    [{ "node_modules/b": {} }, /no string/],
    [{ "": { devDependencies: { b: "file:../b" } } }, /"package\.json" wants "b" from "file:\.\.\/b"/],
    ...["github:x/b", "x/b", "https://example.com/b.tgz", "npm:c@1.0.0", "git+ssh://h/b"].map(
      (wanted): [NonNullable<NpmLock["packages"]>, RegExp] => [
        { "node_modules/a": { version: "1.0.0", optionalDependencies: { b: wanted } } },
        /"a" wants "b" from "/,
      ],
    ),
  ];
  for (const [packages, message] of bad) {
    const found = refusals({ ...top, ...packages });
    assert.equal(found.length, 1, found.join("\n"));
    assert.match(found[0]!, message);
  }
});
