import type { Spending } from "./lease-ledger.ts";
import type { Need, Subject } from "./limit-index.ts";

/** What was taken, and from where. */
export interface Reservation {
  /** What the arbiter knows to be taken, now or when the lease is returned. Not what was let in while it was away. */
  readonly counted: readonly Need[];
  /** What of it came from leases. */
  readonly spendings: readonly Spending[];
}

export interface Refusal {
  readonly limit: string;
  readonly key: string;
  /** The same would be admitted after this long, if nobody else came. Undefined: never. */
  readonly retryDelayMs: number | undefined;
  readonly isPaused: boolean;
  /** The most that the limit ever admits at once. */
  readonly capacity: number;
}

export type Decision =
  | { readonly kind: "admitted"; readonly reservation: Reservation }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** The limits that stand against it while the arbiter is away; undefined when it is not known yet what applies. */
  | { readonly kind: "unreachable"; readonly limits: readonly string[] | undefined };

/** Somebody who waits for a decision. */
export class Waiting {
  readonly subject: Subject;
  readonly reservationId: string;
  /** Whether it waits still. */
  isOpen = true;
  /** It was asked for again, since limits had changed meanwhile. */
  isRepeated = false;
  readonly #decided: PromiseWithResolvers<Decision> = Promise.withResolvers();

  constructor(subject: Subject, reservationId: string) {
    this.subject = subject;
    this.reservationId = reservationId;
  }

  get decision(): Promise<Decision> {
    return this.#decided.promise;
  }

  answer(decision: Decision): void {
    this.isOpen = false;
    this.#decided.resolve(decision);
  }

  fail(error: Error): void {
    this.isOpen = false;
    this.#decided.reject(error);
  }
}
