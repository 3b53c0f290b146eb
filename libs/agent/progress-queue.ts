import type { AttemptProgress } from "#libs/proto/legion/registry/v1/session_pb.ts";

// One frame's worth. Progress is news: what the mesh does not take in time is old, and is dropped.
const maxItems = 1_000;
const maxBytes = 1024 * 1024;

/** Progress that waits for the next frame. Of an attempt only the latest is kept, but for its partial output. */
export class ProgressQueue {
  #items: AttemptProgress[] = [];
  readonly #latest = new Map<string, AttemptProgress>();
  #bytes = 0;

  add(progress: AttemptProgress): void {
    const outputBytes = progress.output?.data.length ?? 0;
    if (this.#bytes + outputBytes > maxBytes) progress.output = undefined;
    else this.#bytes += outputBytes;
    const key = `${progress.attempt}/${progress.taskId}`;
    const latest = this.#latest.get(key);
    if (latest !== undefined && latest.output === undefined) {
      Object.assign(latest, progress);
    } else if (this.#items.length < maxItems) {
      this.#items.push(progress);
      this.#latest.set(key, progress);
    }
  }

  /** At most 1,000. */
  take(): AttemptProgress[] {
    const items = this.#items;
    if (items.length > 0) {
      this.#items = [];
      this.#latest.clear();
      this.#bytes = 0;
    }
    return items;
  }
}
