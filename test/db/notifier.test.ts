import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { Notifier } from "#libs/db/notifier.ts";
import { testDatabase } from "../harness/postgres.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

/** Collects hints, and waits until a given one came. */
class Inbox extends EventEmitter {
  readonly received: (string | null)[] = [];

  readonly handler = (payload: string | null): void => {
    this.received.push(payload);
    this.emit("hint");
  };

  async until(payload: string | null): Promise<void> {
    while (!this.received.includes(payload)) await once(this, "hint");
  }
}

test("hints reach every listener of their channel, and equal ones that wait become one", async () => {
  await using database = await testDatabase();
  await using sender = new Notifier(database);
  await using receiver = new Notifier(database);
  const [own, other, elsewhere] = [new Inbox(), new Inbox(), new Inbox()];
  await Promise.all([
    sender.listen("tasks", own.handler),
    receiver.listen("tasks", other.handler),
    receiver.listen("tasks", () => {
      throw new Error("a handler's error is its own");
    }),
    receiver.listen("else", elsewhere.handler),
  ]);
  for (let i = 0; i < 1_000; i++) sender.hint("tasks", i % 2 === 0 ? "even" : "odd");
  sender.hint("tasks", "last of the burst");
  await Promise.all([own.until("last of the burst"), other.until("last of the burst")]);
  assert.deepEqual(own.received, ["even", "odd", "last of the burst"]);
  assert.deepEqual(other.received, own.received);

  const longest = "é".repeat(3_999) + "x";
  sender.hint("tasks", longest);
  await other.until(longest);
  assert.throws(() => sender.hint("tasks", `${longest}y`), RangeError);
  assert.deepEqual(elsewhere.received, []);
});

test("after Postgres was away the listeners are told of the gap, and hints flow again", async () => {
  await using directory = await temporaryDirectory();
  await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
  const errors: Error[] = [];
  await using notifier = new Notifier({
    connectionString: postgres.connectionString,
    onError: (error) => void errors.push(error),
  });
  const inbox = new Inbox();
  await notifier.listen("tasks", inbox.handler);
  notifier.hint("tasks", "before");
  await inbox.until("before");

  await postgres.kill();
  notifier.hint("tasks", "meanwhile");
  const late = new Inbox();
  const listening = notifier.listen("late", late.handler);
  await postgres.restart();
  await inbox.until(null);
  await listening;
  notifier.hint("tasks", "after");
  notifier.hint("late", "too");
  await Promise.all([inbox.until("after"), late.until("too")]);
  assert.ok(errors.length > 0);
});

test("disposing of one that never got through ends whoever waits", async () => {
  const notifier = new Notifier({ connectionString: "postgres://nobody@127.0.0.1:1/nowhere" });
  const listening = assert.rejects(
    notifier.listen("tasks", () => {}),
    /disposed/,
  );
  await notifier[Symbol.asyncDispose]();
  await listening;
  assert.throws(() => notifier.hint("tasks", ""), /disposed/);
});
