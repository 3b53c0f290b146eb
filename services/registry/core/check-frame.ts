import type { ConnectRequest, Hello } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { Violation } from "./violation.ts";

export const maxItems = 1000;
export const maxSlots = 100_000;
const maxReasonBytes = 1024;

/**
 * The first frame, beyond what the rules of its proto say.
 * @throws Violation
 */
export function checkFirstFrame({ seq, ack, hello, outcomes, progress }: ConnectRequest): Hello {
  if (hello === undefined) throw new Violation("HELLO_EXPECTED", "hello", "the first frame must carry hello");
  if (seq > 1n) throw new Violation("PROTOCOL_VIOLATION", "seq", `must be 1, or 0 in all frames, is ${seq}`);
  if (ack !== 0n) throw new Violation("PROTOCOL_VIOLATION", "ack", `must be 0, for nothing was sent yet, is ${ack}`);
  const early = outcomes.length > 0 ? "outcomes" : progress.length > 0 ? "progress" : undefined;
  if (early !== undefined) throw new Violation("PROTOCOL_VIOLATION", early, "must wait for the frame after hello");
  const names = new Set<string>();
  for (const [index, { name }] of hello.capabilities.entries()) {
    if (names.has(name))
      throw new Violation("INVALID_REQUEST", `hello.capabilities[${index}].name`, `${name} is there twice`);
    names.add(name);
  }
  return hello;
}

/**
 * What the proto's rules say of every frame but the first, by hand: the rules' own engine takes many times longer than
 * all the rest of a frame. Outcomes and progress are looked at one by one, where they are used.
 * @throws Violation
 */
export function checkFrame({ hello, outcomes, progress, drain, setSlots }: ConnectRequest): void {
  if (hello !== undefined) throw new Violation("HELLO_REPEATED", "hello", "hello was said before on this stream");
  if (outcomes.length > maxItems) throw tooMany("outcomes", outcomes.length);
  if (progress.length > maxItems) throw tooMany("progress", progress.length);
  if (drain !== undefined && Buffer.byteLength(drain.reason) > maxReasonBytes) {
    throw new Violation("INVALID_REQUEST", "drain.reason", `must be at most ${maxReasonBytes} bytes`);
  }
  if (setSlots !== undefined && setSlots.slots > maxSlots) {
    throw new Violation("INVALID_REQUEST", "set_slots.slots", `must be at most ${maxSlots}, is ${setSlots.slots}`);
  }
}

function tooMany(field: string, count: number): Violation {
  return new Violation("INVALID_REQUEST", field, `must be at most ${maxItems} a frame, are ${count}`);
}

/** The numbers of the frames that arrive on one stream. */
export class FrameNumbers {
  /** Whether the agent numbers its frames itself; known from the first one. */
  #numbered: boolean | undefined;
  received = 0;

  /** @throws Violation */
  next(seq: bigint): void {
    this.#numbered ??= seq !== 0n;
    const expected = this.received + 1;
    if (this.#numbered ? seq !== BigInt(expected) : seq !== 0n) {
      const wanted = this.#numbered ? String(expected) : "0, as in the first frame";
      throw new Violation("PROTOCOL_VIOLATION", "seq", `must be ${wanted}, is ${seq}`);
    }
    this.received = expected;
  }
}
