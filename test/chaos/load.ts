import assert from "node:assert/strict";
import type { MeshMetrics } from "#libs/client/index.ts";
import { waitFor } from "../harness/wait-for.ts";
import type { World } from "./world.ts";

/** A number of tasks that somebody waits for, and the check that each came out once. */
export class Load {
  readonly name: string;
  /** What the waiting callers got, by the number of their task. */
  readonly results = new Map<number, unknown>();
  /** What they must not see. */
  readonly errors: unknown[] = [];
  readonly #world: World;
  readonly #before: MeshMetrics;
  readonly #waiting: Promise<void>[] = [];

  constructor(world: World, name: string, before: MeshMetrics) {
    this.#world = world;
    this.name = name;
    this.#before = before;
  }

  /** Begins with `count` tasks, of 50 to 450 ms each. */
  static async start(world: World, name: string, count: number): Promise<Load> {
    const load = new Load(world, name, await world.core.getMetrics());
    load.add(count);
    return load;
  }

  get count(): number {
    return this.#waiting.length;
  }

  get taskIds(): string[] {
    return Array.from({ length: this.count }, (_, n) => `${this.name}-${n}`);
  }

  /** Hands over more, and returns at once. */
  add(count: number): void {
    for (let i = 0; i < count; i++) {
      const n = this.count;
      const data = { n, ms: 50 + ((n * 37) % 400) };
      this.#waiting.push(
        this.#world.core.dispatchTask(`${this.name}-${n}`, data, "work", { timeoutMs: 40_000 }).then(
          (result) => void this.results.set(n, result),
          (error: unknown) => void this.errors.push(error),
        ),
      );
    }
  }

  /** Waits until so many are answered: the rest is queued and held by agents. */
  async whenAnswered(count: number): Promise<void> {
    await waitFor(() => this.results.size + this.errors.length >= count, {
      timeoutMs: 30_000,
      describe: () => `${count} answers of ${this.count}; there are ${this.results.size}, and ${this.#trouble()}`,
    });
  }

  /**
   * Every caller got the result of its own task and no error, and every task has one recorded outcome.
   * @param options.beside tasks that others gave the mesh meanwhile, and which are completed too.
   */
  async assertAllCompletedOnce({ beside = 0 } = {}): Promise<void> {
    await Promise.all(this.#waiting);
    assert.equal(this.errors.length, 0, this.#trouble());
    assert.deepEqual(
      [...this.results].filter(([n, result]) => (result as { n: number }).n !== n),
      [],
    );
    assert.equal(this.results.size, this.count);

    const executed = new Set(this.#world.executions(this.name).map(({ taskId }) => taskId));
    assert.deepEqual(
      this.taskIds.filter((taskId) => !executed.has(taskId)),
      [],
      "each was really executed",
    );
    const after = await this.#world.core.getMetrics();
    const { tasksSubmitted, tasksCompleted, tasksFailed, tasksCanceled } = this.#before;
    assert.deepEqual(
      {
        accepted: after.tasksSubmitted - tasksSubmitted,
        completed: after.tasksCompleted - tasksCompleted,
        failed: after.tasksFailed - tasksFailed,
        canceled: after.tasksCanceled - tasksCanceled,
        left: after.tasksQueued + after.tasksScheduled + after.tasksLeased,
      },
      { accepted: this.count + beside, completed: this.count + beside, failed: 0, canceled: 0, left: 0 },
    );
  }

  /** Tasks that were executed more than once, with their executions. */
  repeated(): string[] {
    const counts = Map.groupBy(this.#world.executions(this.name), ({ taskId }) => taskId);
    return [...counts]
      .filter(([, executions]) => executions.length > 1)
      .map(
        ([taskId, executions]) =>
          `${taskId}: ${executions.map(({ agentId, attempt }) => `${agentId}#${attempt}`).join(" ")}`,
      );
  }

  #trouble(): string {
    return this.errors.length === 0 ? "no error" : `${this.errors.length} errors such as ${String(this.errors[0])}`;
  }
}
