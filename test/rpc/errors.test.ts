import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Code } from "@connectrpc/connect";
import type { ConnectError } from "@connectrpc/connect";
import {
  errorMetadata,
  errorReason,
  errorRetryDelayMs,
  errorViolations,
  isUnavailable,
  legionError,
  reasons,
} from "#libs/rpc/errors.ts";
import { codeName, connectErrorFromGrpc, grpcStatusFromError } from "#libs/rpc/grpc-status.ts";
import { connectErrorOf, startEcho } from "./fixtures/echo.ts";
import type { EchoImpl, Logged } from "./fixtures/echo.ts";

/** The error of one call, as each transport's caller sees it. */
async function bothErrors(impl: EchoImpl, request: object = {}): Promise<[ConnectError, ConnectError, Logged[]]> {
  await using echo = await startEcho(impl);
  const overGrpc = await echo.client.echo(request).then(
    () => assert.fail("must fail"),
    (error: ConnectError) => error,
  );
  const response = await echo.post("Echo", JSON.stringify(request));
  const overHttp = await connectErrorOf(response);
  return [overGrpc, overHttp, echo.recorder.logged];
}

function throwing(error: unknown): EchoImpl {
  return {
    echo: () => {
      throw error;
    },
  };
}

describe("errors", () => {
  test("carry reason, facts, violations and delay over both transports", async () => {
    const violations = [{ field: "retry_policy.max_attempts", description: "must be less — or equal" }];
    const thrown = legionError("RATE_LIMITED", "limit «x» is used up", {
      metadata: { limit: "x" },
      violations,
      retryDelayMs: 1500.2,
    });
    const [overGrpc, overHttp, logged] = await bothErrors(throwing(thrown));
    for (const error of [overGrpc, overHttp]) {
      assert.equal(error.code, Code.ResourceExhausted);
      assert.equal(error.rawMessage, "limit «x» is used up");
      assert.equal(errorReason(error), "RATE_LIMITED");
      assert.deepEqual(errorMetadata(error), { limit: "x" });
      assert.deepEqual(errorViolations(error), violations);
      assert.equal(errorRetryDelayMs(error), 1501);
    }
    assert.deepEqual(logged, []);
  });

  test("that nobody meant become INTERNAL without their text, and are logged with their stack", async () => {
    const bug = new TypeError("password=hunter2 is undefined");
    const [overGrpc, overHttp, logged] = await bothErrors(throwing(bug));
    for (const error of [overGrpc, overHttp]) {
      assert.equal(errorReason(error), "INTERNAL");
      assert.equal(error.code, Code.Internal);
      assert.doesNotMatch(JSON.stringify(error.rawMessage), /hunter2/);
    }
    assert.deepEqual(
      logged.map(({ fields }) => fields),
      [1, 2].map(() => ({ err: bug, service: "legiontest.v1.EchoService", method: "Echo" })),
    );
  });

  test("name every field at fault, in proto spelling, and no more of them than fit in a header", async () => {
    let called = false;
    const impl: EchoImpl = {
      echo: () => {
        called = true;
        return {};
      },
    };
    const [overGrpc, overHttp] = await bothErrors(impl, {
      priority: 10,
      retryPolicy: { maxAttempts: 101 },
      requiredLabels: ["ok", ...Array.from({ length: 60 }, () => "")],
    });
    for (const error of [overGrpc, overHttp]) {
      assert.equal(errorReason(error), "INVALID_REQUEST");
      const fields = errorViolations(error).map(({ field }) => field);
      assert.deepEqual(fields.slice(0, 3), ["priority", "retry_policy.max_attempts", "required_labels[1]"]);
      assert.equal(fields.length, 10);
    }
    assert.equal(called, false);
  });

  test("of JSON that is no such message have a reason, as misspelt fields do", async () => {
    await using echo = await startEcho({ echo: () => ({}) });
    for (const body of ['{"text": 1}', '{"txet": "a"}', "{", ""]) {
      const response = await echo.post("Echo", body);
      const error = await connectErrorOf(response);
      assert.equal(response.status, 400, body);
      assert.equal(errorReason(error), "INVALID_REQUEST", body);
      assert.notEqual(error.rawMessage, "", body);
    }
  });

  test("survive texts that HTTP/2 headers do not", async () => {
    const hostile = legionError("TASK_NOT_FOUND", `\ud800 ${"é\n".repeat(5000)}`, { metadata: { id: "\udfff" } });
    const [overGrpc] = await bothErrors(throwing(hostile));
    assert.equal(errorReason(overGrpc), "TASK_NOT_FOUND");
    assert.match(overGrpc.rawMessage, /^\ufffd é\n/);
  });

  test("keep foreign details and codes through a relay", () => {
    const original = legionError("SESSION_FENCED", "a newer session took over");
    const relayed = connectErrorFromGrpc(grpcStatusFromError(connectErrorFromGrpc(grpcStatusFromError(original))));
    assert.equal(errorReason(relayed), "SESSION_FENCED");
    const broken = grpcStatusFromError(original);
    broken.metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff]));
    assert.equal(connectErrorFromGrpc(broken).code, Code.Aborted);
    assert.equal(errorReason(connectErrorFromGrpc(broken)), undefined);
    assert.equal(connectErrorFromGrpc({ ...broken, code: JSON.parse("99") }).code, Code.Unknown);
  });

  test("are read from whatever is caught", () => {
    const grpcJsError = Object.assign(
      new Error("14 UNAVAILABLE"),
      grpcStatusFromError(legionError("SHUTTING_DOWN", "x")),
    );
    assert.equal(errorReason(grpcJsError), "SHUTTING_DOWN");
    assert.equal(isUnavailable(grpcJsError), true);
    for (const other of [new Error("x"), "x", undefined, legionError("INTERNAL", "x")]) {
      assert.equal(isUnavailable(other), false);
    }
  });

  test("have an upper-case reason, a helpful word and a code with gRPC's name", () => {
    for (const [reason, { code, help }] of Object.entries(reasons)) {
      assert.match(reason, /^[A-Z][A-Z_]+$/);
      assert.match(help, /\w{3}.*\.$/);
      assert.match(codeName(code), /^[A-Z][A-Z_]+$/);
    }
    assert.deepEqual([undefined, Code.NotFound, Code.Canceled].map(codeName), ["OK", "NOT_FOUND", "CANCELLED"]);
  });
});
