import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type SchemaReason, SchemaError } from "#libs/schema/schema-error.ts";
import { SchemaValidator } from "#libs/schema/schema-validator.ts";

let validator: SchemaValidator;
before(() => {
  validator = new SchemaValidator();
});
after(() => validator[Symbol.asyncDispose]());

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const validate = (schema: unknown, data: unknown) => validator.validate(JSON.stringify(schema), json(data));
const refuses = (text: string, reason: SchemaReason, message = /./): Promise<void> =>
  assert.rejects(validator.checkSchema(text), (error) => {
    assert.ok(error instanceof SchemaError, String(error));
    assert.equal(error.reason, reason, error.message);
    assert.match(error.message, message);
    return true;
  });

describe("what a schema says holds", () => {
  test("each violation is told with its path", async () => {
    const schema = {
      type: "object",
      properties: {
        items: { type: "array", items: { type: "object", required: ["name"], properties: { n: { type: "integer" } } } },
        "a/b": { const: 1 },
      },
      required: ["items", "who"],
      additionalProperties: false,
    };
    await validator.checkSchema(JSON.stringify(schema));
    assert.deepEqual(await validate(schema, { items: [], who: 1 }), [
      { path: ".who", message: "is not a known property" },
    ]);
    const violations = await validate(schema, { items: [{ name: 1, n: 1.5 }, {}], "a/b": 2, extra: 1 });
    assert.deepEqual(
      violations.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
      [
        { path: ".extra", message: "is not a known property" },
        { path: ".items[0].n", message: "must be integer" },
        { path: ".items[1].name", message: "is required" },
        { path: ".who", message: "is required" },
        { path: '["a/b"]', message: "must be 1" },
      ],
    );
  });

  test("both dialects are understood, each in its own way", async () => {
    const draft07 = { $schema: "http://json-schema.org/draft-07/schema#", items: [{ type: "string" }] };
    assert.equal((await validate(draft07, [1])).length, 1);
    const draft2020 = { $schema: "https://json-schema.org/draft/2020-12/schema", prefixItems: [{ type: "string" }] };
    assert.equal((await validate(draft2020, [1])).length, 1);
    assert.equal((await validate({ $schema: draft07.$schema, prefixItems: [{ type: "string" }] }, [1])).length, 0);
    assert.equal((await validate({ type: "string", format: "date-time" }, "yesterday")).length, 1);
    assert.deepEqual(await validate({ $defs: { a: { type: "number" } }, $ref: "#/$defs/a" }, 1), []);
  });

  test("names of Object.prototype are names like others", async () => {
    const schema =
      '{"required":["toString"],"properties":{"__proto__":{"type":"string"},"constructor":{"type":"number"}}}';
    assert.deepEqual((await validator.validate(schema, json({})))[0]?.path, ".toString");
    const polluting = Buffer.from('{"toString":1,"__proto__":{"polluted":true},"constructor":"x"}');
    assert.deepEqual(
      (await validator.validate(schema, polluting)).map(({ path }) => path),
      [".constructor"],
    );
    assert.equal(Reflect.get({}, "polluted"), undefined);
    const named =
      '{"properties":{"$ref":{"type":"string"},"$id":{"type":"string"}},"const":{"$ref":"https://example.com"}}';
    await validator.checkSchema(named);
  });

  test("data that are no JSON are a violation, not a failure", async () => {
    const schema = '{"type":"object"}';
    for (const data of ["", "{", "\u0000", '{"a":1}x']) {
      assert.deepEqual(await validator.validate(schema, Buffer.from(data)), [{ path: "", message: "must be JSON" }]);
    }
    assert.deepEqual(await validator.validate(schema, Buffer.of(0x22, 0xff, 0x22)), [
      { path: "", message: "must be JSON" },
    ]);
  });
});

describe("what is refused when it is declared", () => {
  test("what is no schema", async () => {
    await refuses("{", "SCHEMA_INVALID", /is not JSON/);
    await refuses("[]", "SCHEMA_INVALID", /object/);
    await refuses('{"type":"strin"}', "SCHEMA_INVALID", /type/);
    await refuses('{"$ref":"#/$defs/missing"}', "SCHEMA_INVALID", /missing/);
    await refuses('{"pattern":"(?=a)b"}', "SCHEMA_INVALID", /pattern/);
    await refuses('{"$schema":"http://json-schema.org/draft-04/schema#"}', "SCHEMA_INVALID", /draft-04/);
  });

  test("what is too large", async () => {
    await refuses(`{"description":"${"é".repeat(32 * 1024)}"}`, "SCHEMA_TOO_LARGE", /65554 bytes/);
    await refuses(`{"default":${"[".repeat(70)}${"]".repeat(70)}}`, "SCHEMA_TOO_LARGE", /deep/);
    await refuses(`{"allOf":[${"true,".repeat(3_000)}true]}`, "SCHEMA_TOO_LARGE", /2000 schemas/);
  });

  test("what lies elsewhere, and nothing is fetched for it", async () => {
    const remote = ['{"$ref":"https://example.com/a.json"}', '{"properties":{"a":{"$ref":"other.json#/a"}}}'];
    remote.push('{"$dynamicRef":"file:///etc/passwd"}', '{"$defs":{"a":{"$id":"https://example.com/"}}}');
    for (const text of remote) await refuses(text, "SCHEMA_REMOTE");
    await validator.checkSchema('{"$id":"https://example.com/own.json","$defs":{"a":true},"$ref":"#/$defs/a"}');
    await validator.checkSchema(
      '{"$id":"https://json-schema.org/draft/2020-12/schema","$ref":"#/$defs/a","$defs":{"a":{}}}',
    );
  });
});

/** Each level tries the next one twice: 2^depth checks of the same value. */
function explosive(depth: number, leaf: unknown): string {
  const $defs: Record<string, unknown> = { d0: leaf };
  for (let i = 1; i <= depth; i++)
    $defs[`d${i}`] = { anyOf: [{ $ref: `#/$defs/d${i - 1}` }, { $ref: `#/$defs/d${i - 1}` }] };
  // Of draft-07, in which the second is not tried when the first holds.
  return JSON.stringify({ $schema: "http://json-schema.org/draft-07/schema#", $defs, $ref: `#/$defs/d${depth}` });
}

describe("what is hostile costs its own caller alone", () => {
  test("a schema that explodes is refused, and others go on", async () => {
    await using quick = new SchemaValidator({ validateTimeoutMs: 200, compileTimeoutMs: 500 });
    const refused = assert.rejects(quick.checkSchema(explosive(40, false)), { reason: "SCHEMA_TOO_SLOW" });
    const others = Array.from({ length: 100 }, (_, i) => quick.validate('{"type":"number"}', json(i % 2 ? i : "no")));
    await refused;
    assert.deepEqual(
      (await Promise.all(others)).map(({ length }) => length),
      Array.from({ length: 100 }, (_, i) => 1 - (i % 2)),
    );
  });

  test("data that make a schema explode are given up, and hold up no other schema from then on", async () => {
    await using quick = new SchemaValidator({ validateTimeoutMs: 200, compileTimeoutMs: 500 });
    const schema = explosive(40, { type: "object" });
    await quick.checkSchema(schema);
    await assert.rejects(quick.validate(schema, json("no object")), { reason: "SCHEMA_TOO_SLOW" });
    // The thread that was given up is replaced by now, so that what follows measures waiting and not starting.
    assert.deepEqual(await quick.validate('{"type":"number"}', json(1)), []);
    let done = false;
    const slow = assert
      .rejects(quick.validate(schema, json(1)), { reason: "SCHEMA_TOO_SLOW" })
      .then(() => (done = true));
    assert.deepEqual(await quick.validate('{"type":"number"}', json(1)), []);
    assert.equal(done, false);
    await slow;
    assert.deepEqual(await quick.validate(schema, json({})), []);
  });

  test("patterns take linear time", async () => {
    const text = `${"a".repeat(50_000)}!`;
    assert.equal((await validate({ pattern: "^(a+)+$" }, text)).length, 1);
    assert.deepEqual(await validate({ pattern: "^(a+)+!$" }, text), []);
    assert.equal((await validate({ patternProperties: { "^(a|a)*$": false } }, { [text]: 1 })).length, 0);
  });

  test("deep data and endless recursion end", async () => {
    const tree = '{"$defs":{"t":{"type":"array","items":{"$ref":"#/$defs/t"}}},"$ref":"#/$defs/t"}';
    const deep = Buffer.from(`${"[".repeat(200_000)}${"]".repeat(200_000)}`);
    const [violation] = await validator.validate(tree, deep);
    assert.match(violation?.message ?? "", /deep|JSON/);
    assert.deepEqual(await validator.validate(tree, json([[[]]])), []);
    await refuses('{"$ref":"#"}', "SCHEMA_INVALID");
  });

  test("many wrong items of large data are not all listed", async () => {
    const violations = await validate(
      { items: { type: "string" } },
      Array.from({ length: 200_000 }, (_, i) => i),
    );
    assert.equal(violations.length, 1);
    assert.equal(
      (
        await validate(
          { items: { type: "string" } },
          Array.from({ length: 100 }, (_, i) => i),
        )
      ).length,
      20,
    );
  });

  test("a schema that was forgotten is compiled again", async () => {
    await using small = new SchemaValidator({ maxSchemas: 2 });
    for (let round = 0; round < 3; round++) {
      for (const type of ["number", "string", "boolean"]) {
        assert.equal((await small.validate(JSON.stringify({ type }), json(null))).length, 1);
      }
    }
  });
});
