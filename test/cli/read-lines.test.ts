import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readLines } from "#libs/cli/read-lines.ts";
import type { InputLine } from "#libs/cli/read-lines.ts";

async function linesOf(chunks: readonly Buffer[]): Promise<InputLine[]> {
  const lines: InputLine[] = [];
  const source = (async function* () {
    yield* chunks;
  })();
  for await (const some of readLines(source)) lines.push(...some);
  return lines;
}

const text = (lines: InputLine[]): [number, string][] => lines.map(({ number, bytes }) => [number, bytes.toString()]);

describe("readLines", () => {
  test("gives the same lines however the bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom("a", "é", "\n", "\r\n", " ", "\t"), { maxLength: 60 }),
        fc.array(fc.nat(60), { maxLength: 10 }),
        async (parts, cuts) => {
          const whole = Buffer.from(parts.join(""));
          const expected = whole
            .toString()
            .split("\n")
            .map((line, index): [number, string] => [index + 1, line.replace(/\r$/, "")])
            .filter(([, line]) => line.replaceAll(/[ \t\r]/g, "") !== "");
          const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)), whole.length].toSorted((a, b) => a - b);
          const chunks = at.slice(1).map((end, index) => whole.subarray(at[index], end));
          const lines = await linesOf(chunks);
          assert.deepEqual(text(lines), expected);
          for (const { endOffset } of lines.slice(0, -1)) assert.equal(whole[endOffset - 1], 0x0a);
        },
      ),
    );
  });

  test("drops the mark that some editors begin a file with", async () => {
    assert.deepEqual(text(await linesOf([Buffer.from("\ufeff{}\n{}")])), [
      [1, "{}"],
      [2, "{}"],
    ]);
  });

  test("keeps only the beginning of a line that is too long to be sent", async () => {
    const lines = await linesOf([
      ...Array.from({ length: 20 }, () => Buffer.alloc(1024 * 1024, "x")),
      Buffer.from("\n{}\n"),
    ]);
    assert.deepEqual(
      lines.map(({ number, tooLong }) => [number, tooLong]),
      [
        [1, true],
        [2, false],
      ],
    );
    assert.ok((lines[0]?.bytes.length ?? 0) < 6 * 1024 * 1024);
  });
});
