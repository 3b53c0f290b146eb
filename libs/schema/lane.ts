import { Worker } from "node:worker_threads";
import type { Job, Reply, Request } from "./worker-messages.ts";

export interface LaneOptions {
  /** How long a job that brings its schema may take, in milliseconds. */
  readonly compileTimeoutMs: number;
  /** How long any other job may take, in milliseconds. */
  readonly validateTimeoutMs: number;
}

/** The worker was stopped, for this job took too long or too much memory. */
export class Overrun extends Error {}

export interface LaneJob {
  readonly schema: number;
  readonly text: string;
  readonly data: Uint8Array | undefined;
}

interface Pending extends LaneJob {
  readonly id: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
  /** It was sent together with its schema. */
  withSchema: boolean;
}

const watchEveryMs = 25;
// As many as are lost, and done again, when one of them stops the worker.
const jobsAtOnce = 64;
const resourceLimits = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 };

/** One worker thread that does jobs in order, and is replaced when one of them does not end. */
export class Lane implements AsyncDisposable {
  readonly #options: LaneOptions;
  /** Where the worker notes which job it is at. */
  #progress = new Int32Array(new SharedArrayBuffer(4));
  readonly #pending = new Map<number, Pending>();
  readonly #loaded = new Set<number>();
  #forget: number[] = [];
  #worker: Worker | undefined;
  #lastId = 0;
  #scheduled = false;
  #inFlight = 0;
  #watch: NodeJS.Timeout | undefined;
  #seen = { id: 0, sinceMs: 0 };
  #disposed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  run(job: LaneJob): Promise<Reply> {
    if (this.#disposed) return Promise.reject(new Error("The schema validator was disposed of."));
    return new Promise((resolve, reject) => {
      // Int32, and 0 means none.
      const id = (this.#lastId = (this.#lastId % 0x7fff_ffff) + 1);
      this.#pending.set(id, { ...job, id, resolve, reject, withSchema: false });
      this.#schedule();
    });
  }

  forget(schema: number): void {
    if (this.#loaded.delete(schema)) this.#forget.push(schema);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    const worker = this.#worker;
    this.#lose();
    for (const { reject } of this.#pending.values()) reject(new Error("The schema validator was disposed of."));
    this.#pending.clear();
    await worker?.terminate();
  }

  /** What one tick brings goes over in one message: a message costs more than a small validation. */
  #schedule(): void {
    if (this.#scheduled || this.#inFlight > 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#disposed || this.#inFlight > 0 || this.#pending.size === 0) return;
    const jobs: Job[] = [];
    const transfer: ArrayBuffer[] = [];
    for (const pending of this.#pending.values()) {
      if (jobs.length === jobsAtOnce) break;
      const { id, schema, text, data } = pending;
      pending.withSchema = !this.#loaded.has(schema);
      this.#loaded.add(schema);
      // A copy, for the data are usually a piece of a larger frame, all of which would go over.
      const copy = data && new Uint8Array(data);
      if (copy !== undefined) transfer.push(copy.buffer);
      jobs.push({ id, schema, text: pending.withSchema ? text : undefined, data: copy });
    }
    this.#inFlight = jobs.length;
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    const request: Request = { jobs, forget: this.#forget };
    this.#forget = [];
    worker.postMessage(request, transfer);
    this.#watch ??= setInterval(() => this.#look(), watchEveryMs);
  }

  #start(): Worker {
    const url = new URL("./worker.ts", import.meta.url);
    const worker = new Worker(url, {
      workerData: { progress: this.#progress.buffer },
      resourceLimits,
      name: "json-schema",
    });
    worker.on("message", (replies: Reply[]) => {
      if (worker === this.#worker) this.#done(worker, replies);
    });
    worker.on("error", (thrown) => {
      if (worker === this.#worker) this.#died(thrown instanceof Error ? thrown : new Error(String(thrown)));
    });
    return worker;
  }

  #done(worker: Worker, replies: readonly Reply[]): void {
    this.#inFlight = 0;
    for (const reply of replies) {
      const pending = this.#pending.get(reply.id);
      this.#pending.delete(reply.id);
      pending?.resolve(reply);
    }
    if (this.#pending.size > 0) {
      this.#schedule();
      return;
    }
    clearInterval(this.#watch);
    this.#watch = undefined;
    worker.unref();
  }

  /** Looks which job is in hand, and since when. */
  #look(): void {
    const id = Atomics.load(this.#progress, 0);
    const nowMs = performance.now();
    if (id === 0 || id !== this.#seen.id) {
      this.#seen = { id, sinceMs: nowMs };
      return;
    }
    const { compileTimeoutMs, validateTimeoutMs } = this.#options;
    const limitMs = this.#pending.get(id)?.withSchema ? compileTimeoutMs : validateTimeoutMs;
    if (nowMs - this.#seen.sinceMs < limitMs) return;
    this.#replace(id, new Overrun(`took longer than ${limitMs} ms`));
  }

  #died(error: Error): void {
    const id = Atomics.load(this.#progress, 0);
    if (id !== 0) {
      this.#replace(id, new Overrun(`took too much memory: ${error.message}`));
      return;
    }
    // It did not even start: another would not either.
    this.#lose();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  /** The culprit fails; what else was sent is done by the next worker. */
  #replace(culprit: number, error: Overrun): void {
    void this.#worker?.terminate();
    this.#lose();
    const job = this.#pending.get(culprit);
    this.#pending.delete(culprit);
    job?.reject(error);
    if (this.#pending.size > 0) this.#schedule();
  }

  #lose(): void {
    this.#worker = undefined;
    this.#loaded.clear();
    this.#forget = [];
    this.#inFlight = 0;
    this.#seen = { id: 0, sinceMs: 0 };
    // The one before may still write into its own while it ends.
    this.#progress = new Int32Array(new SharedArrayBuffer(4));
    clearInterval(this.#watch);
    this.#watch = undefined;
  }
}
