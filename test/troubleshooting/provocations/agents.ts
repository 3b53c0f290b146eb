import { freePorts } from "../../harness/free-ports.ts";
import type { Provocation } from "../stage.ts";

const agent = "node test/troubleshooting/agent.ts";

const helloRefused: Provocation = async (stage) => {
  await stage.mesh();
  await stage.shell.run(`${agent} "greet people" --id host`);
  await stage.shell.run(`${agent} welcome --id host --schema '{"type":"objekt"}'`);
  const right = stage.shell.start(`${agent} welcome --id host --schema '{"type":"object"}'`);
  await right.prints(/session begun/);
  await right.stop("SIGTERM");
};

const fenced: Provocation = async (stage) => {
  await stage.mesh();
  const { shell } = stage;
  const first = shell.start(`${agent} fence --id one-and-only`);
  await first.prints(/session begun/);
  const second = shell.start(`${agent} fence --id one-and-only`);
  await first.ended;
  await second.stop("SIGTERM");
};

const noRegistry: Provocation = async (stage) => {
  const [port = 0] = await freePorts(1);
  stage.shell.alias(port, 7499);
  const lonely = stage.shell.start(`LEGION_REGISTRY=127.0.0.1:${port} ${agent} slow --id lonely`);
  await lonely.prints(/cannot reach/);
  await lonely.stop("SIGTERM");
  const mesh = await stage.mesh();
  const connected = stage.shell.start(`LEGION_REGISTRY=${mesh.registry.address} ${agent} slow --id lonely`);
  await connected.prints(/session begun/);
  await connected.stop("SIGTERM");
};

const dispatcherForRegistry: Provocation = async (stage) => {
  const mesh = await stage.mesh();
  await stage.shell.run(`LEGION_REGISTRY=${mesh.dispatcher.address} ${agent} slow --id lost`);
  const right = stage.shell.start(`LEGION_REGISTRY=${mesh.registry.address} ${agent} slow --id lost`);
  await right.prints(/session begun/);
  await right.stop("SIGTERM");
};

const blocked: Provocation = async (stage) => {
  await stage.mesh("impatient");
  const { shell } = stage;
  const burner = shell.start(`${agent} burn --id burner`);
  await burner.prints(/session begun/);
  await shell.run(`legion run burn '{"ms":4000}' --max-attempts 1`);
  await burner.prints(/a new one[^]*session begun/);
  await shell.run(`legion run burn '{"ms":200}'`);
  await burner.stop("SIGTERM");
};

const rolledBack: Provocation = async (stage) => {
  await stage.mesh("impatient");
  const { shell } = stage;
  const old = shell.start(`${agent} resize --id old --name resizer --version 1.0.0`);
  await old.prints(/session begun/);
  const tasks = shell.start(`yes '{}' | legion run resize --jsonl > /dev/null`);
  const fresh = shell.start(`${agent} resize --id new --name resizer --version 2.0.0`);
  await fresh.prints(/asks this agent to end/);
  await fresh.ended;
  await shell.until("legion incidents --name resizer", /rolled back in/);
  await shell.run("legion versions resizer");
  await shell.run("legion verdict new");
  await tasks.stop("SIGKILL");
  await shell.run("legion versions set resizer 2.0.0 --promote");
  await old.stop("SIGTERM");
};

export const agents = {
  "hello-refused": helloRefused,
  "id-twice": fenced,
  "no-registry": noRegistry,
  "wrong-registry": dispatcherForRegistry,
  "blocked-loop": blocked,
  "rolled-back": rolledBack,
};
