import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { freePorts } from "../harness/free-ports.ts";
import { testDatabase } from "../harness/postgres.ts";
import { runCli } from "../harness/run-cli.ts";
import { runRateLimit } from "../ratelimit/running.ts";

const stack = new AsyncDisposableStack();
let service: Awaited<ReturnType<typeof runRateLimit>>;
let env: Record<string, string>;

before(async () => {
  const { connectionString } = stack.use(await testDatabase());
  service = stack.use(await runRateLimit(connectionString, { LOG_LEVEL: "error", TOKEN_LEASE: "5m" }));
  env = { LEGION_RATELIMIT: `127.0.0.1:${service.grpcPort}` };
});
after(() => stack.disposeAsync());

const legion = (...args: string[]) => runCli(["limits", ...args], { env });

const asked = async (...args: string[]): Promise<any> => {
  const { code, stdout, stderr } = await legion(...args, "--json");
  assert.deepEqual([code, stderr], [0, ""]);
  return JSON.parse(stdout);
};

const options = { concurrency: 3 };

describe("set", options, () => {
  test("hands every flag on, and says what it made", async () => {
    const flags =
      "--rate 100/m --burst 20 --per user --per label:tier --capability a --capability b --user ada --label region=eu --unit llm_tokens --when-unreachable safe=300/m --namespace acme";
    const { code, stdout } = await legion("set", "all-flags", ...flags.split(" "));
    assert.deepEqual([code, stdout], [0, "all-flags: 100 llm_tokens in 1 min, 20 at once\n"]);
    const { limits } = await service.client.listLimits({ namespace: "acme" });
    const { kind, selector, per, unit, whenUnreachable, safeRatePerSecond } = limits[0]!;
    assert.equal(kind.case, "tokenBucket");
    assert.deepEqual(
      [selector?.capabilities, selector?.users, selector?.labels.map(({ key, value }) => [key, value])],
      [["a", "b"], ["ada"], [["region", "eu"]]],
    );
    assert.deepEqual(
      per.map(({ kind: one }) => [one.case, one.value]),
      [
        ["user", true],
        ["label", "tier"],
      ],
    );
    assert.deepEqual([unit, whenUnreachable, safeRatePerSecond], ["llm_tokens", 3, 5]);
  });

  test("--json prints the limit by the proto's names", async () => {
    const { update_time, ...limit } = await asked("set", "as-json", "--window", "9/90s", "--namespace", "acme");
    assert.match(update_time, /^\d{4}-/);
    assert.deepEqual(limit, {
      namespace: "acme",
      name: "as-json",
      unit: "",
      sliding_window: { count: 9, window: "90s" },
      when_unreachable: "UNSPECIFIED",
      safe_rate_per_second: 0,
    });
    const { stdout } = await legion("set", "slots", "--concurrency", "0", "--namespace", "acme");
    assert.equal(stdout, "slots: 0 at a time\n");
  });

  const wrong: [string, string[], RegExp][] = [
    ["no kind", [], /one of --rate 100\/m, --window 100\/1m and --concurrency 5\. None of them was given/],
    ["two kinds", ["--rate", "1/s", "--concurrency", "1"], /Several were given/],
    ["a rate without a time", ["--rate", "100"], /'100' is invalid.*Expected a number and a time, such as 100\/m/],
    ["a rate of nothing", ["--rate", "0/m"], /A rate of 0 would never admit anything.*pause the limit/],
    ["a burst without a rate", ["--window", "1/s", "--burst", "3"], /--burst goes with --rate/],
    ["a burst of 0", ["--rate", "1/s", "--burst", "0"], /Expected a whole number from 1/],
    ["an unknown dimension", ["--rate", "1/s", "--per", "tier"], /Expected user, capability or label:<key>/],
    ["a dimension named twice", ["--rate", "1/s", "--per", "user", "--per", "user"], /user is named twice/],
    [
      "an unknown policy",
      ["--rate", "1/s", "--when-unreachable", "open"],
      /Expected fail-closed, fail-open or safe=<rate>/,
    ],
    ["a name that is none", ["--rate", "1/s", "--unit", "llm tokens"], /limit\.unit/],
  ];
  for (const [what, args, message] of wrong) {
    test(`${what} is exit code 2`, async () => {
      const { code, stdout, stderr } = await legion("set", "wrong", ...args);
      assert.deepEqual([code, stdout], [2, ""], stderr);
      assert.match(stderr, message);
    });
  }
});

test("a limit is listed, shown with what is left and who has leased of it, paused, freed and deleted", async () => {
  await legion("set", "per-user", "--rate", "100/1d", "--burst", "20", "--per", "user");
  const item = { limit: "per-user", key: "ada" };
  await service.client.acquire({ acquisitions: [{ user: "ada", limits: ["per-user"] }] });
  await service.client.lease({ holderId: "dispatcher-1", items: [{ ...item, want: 5n }] });

  const list = await legion("list", "--namespace", "default");
  assert.match(
    list.stdout,
    /^LIMIT +ALLOWS +FOR EACH +NAMESPACE +UNREACHABLE +APPLIES TO\nper-user +100 in 1 d, 20 at once +user +default +fail-closed +all tasks\n$/,
  );
  assert.deepEqual(
    (await asked("list", "--namespace", "default")).limits.map(({ name }: { name: string }) => name),
    ["per-user"],
  );

  const { states } = await asked("show", "per-user", "--key", "ada");
  assert.deepEqual([states[0].key, states[0].remaining, states[0].leased], ["ada", 14, 5]);
  assert.deepEqual(
    states[0].holders.map((one: Record<string, unknown>) => [one["holder_id"], one["leased"]]),
    [["dispatcher-1", 5]],
  );
  const shown = await legion("show", "per-user");
  assert.match(shown.stdout, /allows +100 in 1 d, 20 at once\nfor each +user\n/);
  assert.match(shown.stdout, /\nada +14 +in \d+ (h|min|s) +no +5 +dispatcher-1: 5 for [45] min\n$/);

  const paused = await legion("pause", "per-user", "--key", "ada", "--for", "30s");
  assert.match(paused.stdout, /^per-user for 'ada' is paused for (2\d|30) s\n$/);
  assert.match(
    (await legion("show", "per-user", "--key", "ada")).stdout,
    /until \d\d:\d\d:\d\d\.\d+ \(in (2\d|30) s\)/,
  );
  assert.match((await legion("list")).stderr, /Paused: per-user \(ada\)/);
  const ended = await asked("pause", "per-user", "--key", "ada", "--for", "0");
  assert.deepEqual(ended, { limit: "per-user", key: "ada" });

  assert.equal((await legion("delete", "per-user")).stdout, "deleted\n");
  const gone = await legion("show", "per-user");
  assert.deepEqual([gone.code, gone.stdout], [1, ""]);
  assert.match(gone.stderr, /no limit per-user/);
  const again = await legion("delete", "per-user");
  assert.equal(again.code, 1);
});

test("a mesh that is not there is exit code 3; an unknown command and a missing time are exit code 2", async () => {
  const [port] = await freePorts(1);
  const away = await runCli(["limits", "list"], { env: { LEGION_RATELIMIT: `127.0.0.1:${port}` } });
  assert.equal(away.code, 3);
  assert.match(away.stderr, /no RateLimit answers at 127\.0\.0\.1:\d+; .*LEGION_RATELIMIT says if it is elsewhere/);
  assert.equal((await legion("nothing")).code, 2);
  const pause = await legion("pause", "x");
  assert.deepEqual([pause.code, /--for/.test(pause.stderr)], [2, true]);
});
