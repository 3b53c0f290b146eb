import { join } from "node:path";
import type { Provocation } from "../stage.ts";

const agent = "node test/troubleshooting/agent.ts";

const dead: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  await shell.run(`legion run fail '{"message":"no luck"}' --task-id luckless --max-attempts 2`);
  await shell.run("legion get luckless");
  await shell.run("legion tasks --state dead --limit 1");
  await shell.run(`legion run fail '{"message":"no luck","times":1}' --max-attempts 2`);
};

const timeout: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  await shell.run(`legion run sleep '{"ms":60000}' --timeout 300ms --max-attempts 1`);
  await shell.run(`legion run sleep '{"ms":400}' --timeout 30s`);
};

const largeResult: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  const report = shell.start(`${agent} large --id reporter`);
  await report.prints(/session begun/);
  await shell.run(`legion run large '{"length":3000000}'`);
  await shell.run(`legion run large '{"length":10}'`);
  await report.stop("SIGTERM");
};

const agentDies: Provocation = async (stage) => {
  await stage.mesh("impatient");
  const { shell } = stage;
  // As a supervisor does; else nobody is there for the second attempt.
  const dying = shell.start(`for n in 1 2; do ${agent} die --id dying; done`);
  await dying.prints(/session begun/);
  await shell.run("legion run die --task-id deadly --max-attempts 2");
  await dying.stop("SIGKILL");
};

const twice: Provocation = async (stage) => {
  await stage.mesh("impatient");
  const { shell } = stage;
  const notes = join(await stage.directory("/tmp"), "paid.txt");
  const cashier = shell.start(`for n in 1 2; do ${agent} pay --id cashier --notes ${notes}; done`);
  await cashier.prints(/session begun/);
  await shell.run(`legion run pay '{"amount":100}' --task-id invoice-7`);
  await shell.run(`cat ${notes}`);
  await cashier.stop("SIGKILL");
};

export const failing = {
  "attempts-exhausted": dead,
  "timed-out": timeout,
  "result-too-large": largeResult,
  "agent-dies": agentDies,
  "runs-twice": twice,
};
