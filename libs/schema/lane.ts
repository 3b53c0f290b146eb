import { Worker } from "node:worker_threads";
import type { Question, Reply, Request } from "./thread-messages.ts";

export interface LaneOptions {
  /** How long a question that brings its schema may take, in milliseconds. */
  readonly compileTimeoutMs: number;
  /** How long any other question may take, in milliseconds. */
  readonly validateTimeoutMs: number;
}

/** The thread was stopped, for this question took too long or too much memory. */
export class Overrun extends Error {}

export interface LaneQuestion {
  readonly schema: number;
  readonly text: string;
  readonly data: Uint8Array | undefined;
}

interface Pending extends LaneQuestion {
  readonly id: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
  /** It was sent together with its schema. */
  withSchema: boolean;
}

const watchEveryMs = 25;
// As many as are lost, and done again, when one of them stops the thread.
const questionsAtOnce = 64;
const resourceLimits = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 };

/** One thread that answers questions in order, and is replaced when one of them does not end. */
export class Lane implements AsyncDisposable {
  readonly #options: LaneOptions;
  /** Where the thread notes which question it is at. */
  #progress = new Int32Array(new SharedArrayBuffer(4));
  readonly #pending = new Map<number, Pending>();
  readonly #loaded = new Set<number>();
  #forget: number[] = [];
  #thread: Worker | undefined;
  #lastId = 0;
  #scheduled = false;
  #inFlight = 0;
  #watch: NodeJS.Timeout | undefined;
  #seen = { id: 0, sinceMs: 0 };
  #disposed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  run(question: LaneQuestion): Promise<Reply> {
    if (this.#disposed) return Promise.reject(new Error("The schema validator was disposed of."));
    return new Promise((resolve, reject) => {
      // Int32, and 0 means none.
      const id = (this.#lastId = (this.#lastId % 0x7fff_ffff) + 1);
      this.#pending.set(id, { ...question, id, resolve, reject, withSchema: false });
      this.#schedule();
    });
  }

  forget(schema: number): void {
    if (this.#loaded.delete(schema)) this.#forget.push(schema);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    const thread = this.#thread;
    this.#lose();
    for (const { reject } of this.#pending.values()) reject(new Error("The schema validator was disposed of."));
    this.#pending.clear();
    await thread?.terminate();
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
    const questions: Question[] = [];
    const transfer: ArrayBuffer[] = [];
    for (const pending of this.#pending.values()) {
      if (questions.length === questionsAtOnce) break;
      const { id, schema, text, data } = pending;
      pending.withSchema = !this.#loaded.has(schema);
      this.#loaded.add(schema);
      // A copy, for the data are usually a piece of a larger frame, all of which would go over.
      const copy = data && new Uint8Array(data);
      if (copy !== undefined) transfer.push(copy.buffer);
      questions.push({ id, schema, text: pending.withSchema ? text : undefined, data: copy });
    }
    this.#inFlight = questions.length;
    const thread = (this.#thread ??= this.#start());
    thread.ref();
    const request: Request = { questions, forget: this.#forget };
    this.#forget = [];
    thread.postMessage(request, transfer);
    this.#watch ??= setInterval(() => this.#look(), watchEveryMs);
  }

  #start(): Worker {
    const url = new URL("./thread.ts", import.meta.url);
    const thread = new Worker(url, {
      workerData: { progress: this.#progress.buffer },
      resourceLimits,
      name: "json-schema",
    });
    thread.on("message", (replies: Reply[]) => {
      if (thread === this.#thread) this.#done(thread, replies);
    });
    thread.on("error", (thrown) => {
      if (thread === this.#thread) this.#died(thrown instanceof Error ? thrown : new Error(String(thrown)));
    });
    return thread;
  }

  #done(thread: Worker, replies: readonly Reply[]): void {
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
    thread.unref();
  }

  /** Looks which question is in hand, and since when. */
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

  /** The culprit fails; what else was sent is answered by the next thread. */
  #replace(culprit: number, error: Overrun): void {
    void this.#thread?.terminate();
    this.#lose();
    const question = this.#pending.get(culprit);
    this.#pending.delete(culprit);
    question?.reject(error);
    if (this.#pending.size > 0) this.#schedule();
  }

  #lose(): void {
    this.#thread = undefined;
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
