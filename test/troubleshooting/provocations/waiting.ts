import type { Provocation, Stage } from "../stage.ts";

const agent = "node test/troubleshooting/agent.ts";

/** Submits a task over HTTP, with what the command has no flag for. */
export async function submit(stage: Stage, task: Record<string, unknown>): Promise<void> {
  const mesh = await stage.mesh();
  const url = `${mesh.dispatcher.httpAddress}/legion.dispatcher.v1.DispatcherService/SubmitTask`;
  const body = JSON.stringify({ task: { ...task, taskData: { data: Buffer.from("{}").toString("base64") } } });
  await stage.shell.run(`curl -sS -d '${body}' -H 'content-type: application/json' ${url}`);
}

const noAgent: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  const run = shell.start(`legion run translate '{"ms":0}'`);
  await run.prints(/queued/);
  await shell.run("legion agents --capability translate");
  const helper = shell.start(`${agent} translate --id translator`);
  await helper.prints(/session begun/);
  await run.ended;
  await helper.stop("SIGTERM");
};

const noLabels: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  const us = shell.start(`${agent} render --id us-1 --region us`);
  await us.prints(/session begun/);
  await submit(stage, { taskId: "poster", capability: "render", requiredLabels: [{ key: "region", value: "eu" }] });
  await shell.until("legion get poster", /has the labels/);
  const eu = shell.start(`${agent} render --id eu-1 --region eu`);
  await eu.prints(/session begun/);
  await shell.until("legion get poster", /COMPLETED/);
  await eu.stop("SIGTERM");
  await us.stop("SIGTERM");
};

const busy: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  const first = shell.start(`${agent} bake --id oven-1 --slots 1`);
  await first.prints(/session begun/);
  await shell.run(`legion submit bake '{"ms":600000}' --task-id cake`);
  await shell.run(`legion submit bake '{"ms":0}' --task-id bread`);
  await shell.run(`legion submit bake '{"ms":0}' --task-id pie`);
  await shell.until("legion get pie", /busy/);
  await shell.run("legion agents --capability bake");
  const second = shell.start(`${agent} bake --id oven-2`);
  await second.prints(/session begun/);
  await shell.until("legion get pie", /COMPLETED/);
  await first.stop("SIGKILL");
  await second.stop("SIGTERM");
};

const scheduled: Provocation = async (stage) => {
  const { shell } = stage;
  await submit(stage, {
    taskId: "tomorrow",
    capability: "fail",
    runTime: new Date(Date.now() + 86_400_000).toISOString(),
  });
  await shell.run("legion get tomorrow");
  await shell.run("legion cancel tomorrow");
};

const retry: Provocation = async (stage) => {
  const { shell } = stage;
  await submit(stage, {
    taskId: "stubborn",
    capability: "fail",
    retryPolicy: { maxAttempts: 3, initialDelay: "3600s" },
  });
  await shell.until("legion get stubborn", /SCHEDULED/);
  await shell.run("legion cancel stubborn");
};

const limited: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  const cook = shell.start(`${agent} roast --id cook`);
  await cook.prints(/session begun/);
  await shell.run("legion limits set ovens --concurrency 1 --capability roast");
  await shell.until("legion limits show ovens", /ovens/);
  await shell.run(`legion submit roast '{"ms":600000}' --task-id goose`);
  await shell.run(`legion submit roast '{"ms":0}' --task-id duck`);
  await shell.until("legion get duck", /is reached/);
  await shell.run("legion limits set ovens --concurrency 2 --capability roast");
  await shell.until("legion get duck", /COMPLETED/);
  await cook.stop("SIGKILL");
};

const barred: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  const old = shell.start(`${agent} sort --id sorter-1 --name sorter --version 1 --slots 1`);
  await old.prints(/session begun/);
  await shell.run("legion versions policy sorter manual");
  const fresh = shell.start(`${agent} shuffle --id sorter-2 --name sorter --version 2`);
  await fresh.prints(/session begun/);
  await shell.run(`legion submit shuffle '{"ms":0}' --task-id cards`);
  await shell.until("legion get cards", /given no work/);
  await shell.run("legion agents");
  await shell.run("legion versions sorter");
  await shell.run("legion versions set sorter 2 --promote");
  await shell.until("legion get cards", /COMPLETED/);
  await fresh.stop("SIGTERM");
  await old.stop("SIGTERM");
};

export const waiting = {
  "no-agent": noAgent,
  "no-labels": noLabels,
  busy,
  scheduled,
  "retry-rests": retry,
  "limit-holds": limited,
  "version-gets-nothing": barred,
};
