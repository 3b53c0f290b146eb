import { after, before } from "node:test";
import { whyNoGo } from "../tools/go-tools.ts";
import { ControlPlane } from "./control-plane.ts";

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: the chart is not tried on a real control plane, for ${skip}`);

// The programs are built before, unless a test file is started by itself: then its first run takes a quarter of an hour.
export const limits = { skip, timeout: 2_400_000 };

/** One control plane for all tests of a file, and what they need of it; `plane` can be read as soon as they run. */
export function useControlPlane(prepare: (plane: ControlPlane) => Promise<void> = async () => {}): {
  plane: ControlPlane;
} {
  let plane: ControlPlane | undefined;
  before(async () => {
    if (skip !== undefined) return;
    plane = await ControlPlane.start();
    await prepare(plane);
  }, limits);
  after(() => plane?.[Symbol.asyncDispose]());
  return {
    get plane() {
      return plane!;
    },
  };
}
