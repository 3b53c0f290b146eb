import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AckLine } from "../../../services/dispatcher/core/ack-line.ts";

test("in any order of dealing with frames, all that is acknowledged is dealt with, and nothing is held back", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 30 }),
      fc.infiniteStream(fc.nat()),
      (holdsOfFrames, choices) => {
        const line = new AckLine();
        const left: number[] = [];
        const deal = (index: number): void => {
          left[index]!--;
          line.release(BigInt(index + 1));
        };
        const check = (): void => {
          const open = left.findIndex((holds) => holds > 0);
          assert.equal(line.acked, BigInt(open === -1 ? left.length : open));
        };
        const dealWithSome = (): void => {
          const open = left.flatMap((holds, index) => (holds > 0 ? [index] : []));
          const choice = choices.next().value ?? 0;
          if (open.length > 0 && choice % 3 > 0) deal(open[choice % open.length]!);
          check();
        };
        for (const holds of holdsOfFrames) {
          const seq = BigInt(left.length + 1);
          line.begin(seq);
          for (let i = 0; i < holds; i++) line.hold(seq);
          left.push(holds + 1);
          check();
          dealWithSome();
        }
        for (let index = 0; index < left.length; index++) while (left[index]! > 0) deal(index);
        check();
      },
    ),
  );
});
