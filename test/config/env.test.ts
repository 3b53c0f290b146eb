import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  boolean,
  bytes,
  ConfigError,
  describeEnv,
  duration,
  type HostPort,
  hostPortList,
  integer,
  oneOf,
  originList,
  readEnv,
  string,
  url,
} from "#libs/config/env.ts";
import { unknownVariables } from "#libs/config/unknown-variables.ts";

const spec = {
  DATABASE_URL: url({
    doc: "Postgres",
    required: true,
    schemes: ["postgres", "postgresql"],
    example: "postgres://legion@localhost/legion",
  }),
  POOL_SIZE: integer({ doc: "Connections", default: 10, min: 1, max: 200 }),
  TOKEN: string({ doc: "Bearer token", secret: true }),
  VERBOSE: boolean({ doc: "Say more", default: false }),
  LEASE: duration({ doc: "Length of a lease", default: "15s", min: "1s", max: "1h" }),
  FRAME: bytes({ doc: "Largest frame", default: "2MiB" }),
  LISTEN: hostPortList({ doc: "Address", default: "127.0.0.1:7401" }),
  PEERS: hostPortList({ doc: "Others" }),
  PAGES: originList({ doc: "Pages" }),
  MODE: oneOf(["fast", "safe"], { doc: "Either|or", default: "safe" }),
};
const DATABASE_URL = "postgres://legion:hunter2@db/legion";

function problems(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    readEnv(spec, { DATABASE_URL, ...env });
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
  return [];
}

test("values are read into their types; unset and empty ones take their defaults", () => {
  const defaults = readEnv(spec, { DATABASE_URL, POOL_SIZE: "", LEASE: " " });
  const poolSize: number = defaults.POOL_SIZE;
  const token: string | undefined = defaults.TOKEN;
  const mode: "fast" | "safe" = defaults.MODE;
  const peers: readonly HostPort[] | undefined = defaults.PEERS;
  assert.deepEqual([poolSize, token, mode, peers], [10, undefined, "safe", undefined]);
  // @ts-expect-error: it has no default and is not required, so it may be absent.
  const absent: string = defaults.TOKEN;
  assert.equal(absent, undefined);
  assert.deepEqual([defaults.LEASE, defaults.FRAME, defaults.VERBOSE], [15_000, 2_097_152, false]);

  const given = readEnv(spec, {
    DATABASE_URL,
    POOL_SIZE: " 200 ",
    VERBOSE: "Yes",
    LEASE: "1.5m",
    FRAME: "512KiB",
    LISTEN: "[::1]:0",
    PEERS: "a:1, b.example:65535",
    PAGES: "https://Console.example, http://localhost:5173",
    MODE: "fast",
  });
  assert.deepEqual(given, {
    DATABASE_URL,
    POOL_SIZE: 200,
    TOKEN: undefined,
    VERBOSE: true,
    LEASE: 90_000,
    FRAME: 524_288,
    LISTEN: [{ host: "::1", port: 0 }],
    PEERS: [
      { host: "a", port: 1 },
      { host: "b.example", port: 65_535 },
    ],
    PAGES: ["https://console.example", "http://localhost:5173"],
    MODE: "fast",
  });
});

test("every problem is listed at once: variable, value, what was expected, an example", () => {
  const error = (() => {
    try {
      return readEnv(spec, { POOL_SIZE: "0", LEASE: "30", MODE: "quick", LISTEN: "::1:7401", PEERS: "a:1,,b:2" });
    } catch (thrown) {
      return thrown;
    }
  })();
  assert.ok(error instanceof ConfigError);
  assert.deepEqual([error.expected, error.exitCode], [true, 2]);
  assert.equal(
    error.message,
    `6 settings cannot be used:
  DATABASE_URL is not set (Postgres): expected a URL that begins with postgres:// or postgresql://, for example DATABASE_URL=postgres://legion@localhost/legion
  POOL_SIZE=0 (Connections): expected an integer from 1 to 200, for example POOL_SIZE=10
  LEASE=30 (Length of a lease): expected a duration with its unit (ms, s, m, h or d) from 1s to 1h, for example LEASE=15s; a plain number has no unit: write 30s or 30ms
  LISTEN=::1:7401 (Address): expected host:port, several separated by commas, for example LISTEN=127.0.0.1:7401
  PEERS=a:1,,b:2 (Others): expected host:port, several separated by commas, for example PEERS=10.0.0.1:7402,10.0.0.2:7402
  MODE=quick (Either|or): expected one of fast, safe, for example MODE=safe`,
  );
});

test("what is not of its kind is refused", () => {
  const refused: Record<string, string[]> = {
    POOL_SIZE: ["1.5", "1e2", "ten", "201", "-1", "0x10", "9007199254740993"],
    VERBOSE: ["maybe", "2"],
    LEASE: ["-5s", "5 parsecs", "5S", "999ms", "61m", "s"],
    FRAME: ["2MB", "2 megs", "-1", "MiB"],
    LISTEN: ["localhost", ":7401", "a:b", "a:65536", "a:1:2", "http://a:1"],
    PAGES: [
      "console.example",
      "https://a/",
      "https://a:443",
      "https://a/b",
      "file:///x",
      "null",
      "https://a,",
      "https://u@a",
    ],
    MODE: ["FAST", "toString"],
    DATABASE_URL: ["localhost:5432", "mysql://a/b", "postgres:legion", "not a url"],
  };
  for (const [name, values] of Object.entries(refused)) {
    for (const value of values) assert.equal(problems({ [name]: value }).length, 1, `${name}=${value}`);
  }
});

test("a password is never shown, however the address is misspelt", () => {
  const misspelt = [
    "postgrs://legion:hunter2@db/legion",
    "legion:hunter2@db/legion",
    "postgres//legion:hunter2@db",
    "mysql://legion:hunter2@at@db/legion",
    "postgres:legion:hunter2@db",
    "mysql://legion:12/hunter2@db/legion",
    "mysql://db/legion?user=a&password=hunter2",
  ];
  for (const value of misspelt) {
    const [problem] = problems({ DATABASE_URL: value });
    assert.match(problem ?? "", /^DATABASE_URL=.*\*{4}/, value);
    assert.doesNotMatch(problem ?? "", /hunter2|at@/, value);
  }
  assert.match(problems({ DATABASE_URL: "mysql://legion@db/x" })[0] ?? "", /DATABASE_URL=mysql:\/\/legion@db\/x /);
  const secret = { PIN: string({ doc: "", secret: true }), KEY: integer({ doc: "" }) };
  assert.equal(readEnv(secret, { PIN: "1234" }).PIN, "1234");
  assert.equal(secret.PIN.show("1234"), "****");
});

test("durations and sizes survive being written and read", () => {
  const units = Object.entries({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 });
  fc.assert(
    fc.property(fc.nat({ max: 1_000_000 }), fc.constantFrom(...units), (n, [unit, unitMs]) => {
      assert.equal(readEnv({ X: duration({ doc: "" }) }, { X: `${n}${unit}` }).X, n * unitMs);
    }),
  );
});

test("a default that its own variable would refuse fails where it is declared", () => {
  assert.throws(() => integer({ doc: "", default: 500, max: 200 }), /The default 500 is not an integer of at most 200/);
  assert.throws(() => url({ doc: "", default: "localhost" }), TypeError);
});

test("the documentation's table has a row for each variable", () => {
  const rows = describeEnv(spec);
  assert.equal(rows.length, 2 + Object.keys(spec).length);
  assert.ok(rows.includes("| `POOL_SIZE` | `10` | an integer from 1 to 200 | Connections |"));
  assert.ok(rows.includes("| `TOKEN` | – | text | Bearer token |"));
  assert.ok(rows.some((row) => row.startsWith("| `DATABASE_URL` | required |")));
  assert.ok(rows.includes("| `MODE` | `safe` | one of fast, safe | Either\\|or |"));
});

test("an unknown LEGION_ variable is reported, with the name it was probably meant to be", () => {
  const known = ["LEGION_POOL_SIZE", "LEGION_LEASE_DURATION"];
  const env = { LEGION_POOLSIZE: "1", LEGION_LEASE_DURATION: "5s", LEGION_ZEBRA_STRIPES_ENABLED: "1", HOME: "/" };
  assert.deepEqual(unknownVariables(env, known), [
    "LEGION_POOLSIZE is not a setting that is known here: did you mean LEGION_POOL_SIZE?",
    "LEGION_ZEBRA_STRIPES_ENABLED is not a setting that is known here.",
  ]);
});
