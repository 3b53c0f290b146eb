import { LegionCore } from "#libs/client/index.ts";
import type { Mesh } from "../mesh.ts";

export interface DemoLoad extends AsyncDisposable {
  readonly completed: number;
  readonly failed: number;
  /** Tasks completed since this was last asked, by version. */
  takeDone(): ReadonlyMap<string, number>;
}

/** Gives a capability so many tasks a second, whether or not the earlier ones are done. */
export function startLoad({ addresses }: Mesh, capability: string, perSecond: number): DemoLoad {
  const core = new LegionCore({ dispatcher: addresses.dispatcher.join(",") });
  const underWay = new Set<Promise<void>>();
  let done = new Map<string, number>();
  const counts = { completed: 0, failed: 0 };
  const one = async (): Promise<void> => {
    try {
      const { version } = await core.dispatchTask<{ version: string }>(undefined, {}, capability, {
        timeoutMs: 60_000,
      });
      done.set(version, (done.get(version) ?? 0) + 1);
      counts.completed++;
    } catch {
      counts.failed++;
    }
  };
  const timer = setInterval(() => {
    const task = one().finally(() => underWay.delete(task));
    underWay.add(task);
  }, 1_000 / perSecond);
  return {
    get completed() {
      return counts.completed;
    },
    get failed() {
      return counts.failed;
    },
    takeDone() {
      const taken = done;
      done = new Map();
      return taken;
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await Promise.all(underWay);
      await core[Symbol.asyncDispose]();
    },
  };
}
