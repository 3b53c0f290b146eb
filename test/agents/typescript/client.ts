import { parseArgs } from "node:util";
import { LegionCore, LegionError, TaskCanceledError, TaskFailedError, WaitTimeoutError } from "#libs/client/index.ts";

// Usage: client.ts CAPABILITY JSON [--timeout-ms N] [--task-id ID]
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { "timeout-ms": { type: "string", default: "60000" }, "task-id": { type: "string" } },
});
const [capability = "", json = "{}"] = positionals;

process.exitCode = await runTask();

async function runTask(): Promise<number> {
  // LEGION_DISPATCHER says where the mesh is. Where nobody answers, it tries again until the time is up.
  await using core = new LegionCore();
  try {
    const result = await core.dispatchTask(values["task-id"], JSON.parse(json), capability, {
      timeoutMs: Number(values["timeout-ms"]),
    });
    console.log(JSON.stringify(result));
    return 0;
  } catch (error) {
    const { code, message } = describe(error);
    console.error(message);
    return code;
  }
}

function describe(error: unknown): { code: number; message: string } {
  if (error instanceof TaskFailedError) return { code: 1, message: `${error.code}: ${error.message}` };
  if (error instanceof TaskCanceledError) return { code: 1, message: `CANCELED: ${error.message}` };
  // It says whether the mesh was away until the end, or the task only took too long.
  if (error instanceof WaitTimeoutError) return { code: error.cause === undefined ? 4 : 3, message: error.message };
  if (error instanceof LegionError) {
    return { code: error.code === "UNAVAILABLE" ? 3 : 2, message: `${error.reason ?? error.code}: ${error.message}` };
  }
  return { code: 2, message: String(error) };
}
