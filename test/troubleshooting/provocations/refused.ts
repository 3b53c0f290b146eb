import type { Provocation } from "../stage.ts";

const rateLimited: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  stage.defer(() => shell.run("legion limits delete per-user"));
  await shell.run("legion limits set per-user --rate 1/h --per user --label for=trouble");
  const run = `legion run greet '{"name":"Ada"}' --user ada --label for=trouble`;
  await shell.until(run, /is reached/);
  await shell.run("legion limits show per-user");
  const waiting = shell.start(`${run} --when-limited wait --task-id patient`);
  await waiting.prints(/is reached; next/);
  await shell.run("legion limits set per-user --rate 100/s --per user --label for=trouble");
  await waiting.ended;
};

const costly: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  await shell.run("legion limits set api --rate 10/s --label for=cost");
  await shell.until(`legion run greet '{"name":"Ada"}' --label for=cost --cost 50`, /never/);
  await shell.run("legion limits set api --rate 10/s --burst 50 --label for=cost");
  await shell.until(`legion run greet '{"name":"Ada"}' --label for=cost --cost 50`, /Hello/);
  await shell.run("legion limits delete api");
};

const arbiterAway: Provocation = async (stage) => {
  const mesh = await stage.mesh();
  const { shell } = stage;
  await shell.run("legion limits set cloud --rate 100/s --capability greet");
  stage.defer(() => shell.run("legion limits delete cloud"));
  await shell.until(`legion limits show cloud`, /greet/);
  await mesh.kill("ratelimit");
  const url = `${mesh.dispatcher.httpAddress}/legion.dispatcher.v1.DispatcherService/SubmitTask`;
  const body = '{"task":{"capability":"greet","taskData":{"data":"eyJuYW1lIjoiQWRhIn0="}}}';
  await shell.until(`curl -sS -d '${body}' -H 'content-type: application/json' ${url}`, /UNREACHABLE/);
  const waiting = shell.start(`legion run greet '{"name":"Ada"}'`);
  await waiting.prints(/cannot be asked/);
  await shell.run("legion health");
  await mesh.restart("ratelimit");
  await waiting.ended;
};

const tooLarge: Provocation = async (stage) => {
  await stage.mesh();
  await stage.shell.run(`head -c 3000000 /dev/zero | tr '\\0' x | sed 's/.*/{"text":"&"}/' | legion run wordcount -`);
  await stage.shell.run(`legion run wordcount '{"text":"far less"}'`);
};

const mismatch: Provocation = async (stage) => {
  await stage.mesh();
  await stage.shell.run(`legion run greet '{"nam":"Ada"}'`);
  await stage.shell.run("legion run greet 'Ada'");
  await stage.shell.run(`legion run greet '{"name":"Ada"}'`);
};

const conflict: Provocation = async (stage) => {
  await stage.mesh();
  await stage.shell.run(`legion run greet '{"name":"Ada"}' --task-id monday`);
  await stage.shell.run(`legion run greet '{"name":"Bob"}' --task-id monday`);
  await stage.shell.run(`legion run greet '{"name":"Ada"}' --task-id monday`);
};

const unknownTask: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  await shell.run(`legion run sleep '{"ms":1}' --task-id there --namespace team-a --wait-timeout 1s`);
  await shell.run("legion get there");
  await shell.run("legion get there --namespace team-a");
};

export const refused = {
  "rate-limited": rateLimited,
  "costs-too-much": costly,
  "rate-limit-away": arbiterAway,
  "data-too-large": tooLarge,
  "data-mismatch": mismatch,
  "id-conflict": conflict,
  "task-unknown": unknownTask,
};
