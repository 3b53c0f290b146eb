import { spawnSync } from "node:child_process";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { built, protoFiles } from "../../harness/build-cache.ts";
import { repositoryRoot, run } from "../../harness/run-program.ts";
import type { Language } from "../language.ts";

const folder = "test/agents/go";
// What the module consists of; stubs that somebody made in the checkout are not among it.
const sources = ["go.mod", "go.sum", "buf.gen.yaml", "agent", "client", "legion", "telemetry"];

export const go: Language = {
  name: "go",
  whyNot: whyNoGo,
  async prepare() {
    const bin = join(await builtGo(), "bin");
    return { agent: { file: join(bin, "agent"), args: [] }, client: { file: join(bin, "client"), args: [] } };
  },
};

export function whyNoGo(): string | undefined {
  const { error } = spawnSync("go", ["version"]);
  return error === undefined ? undefined : `go cannot be run: ${error.message}`;
}

/** A folder with the module, its stubs and the contracts where they are in the checkout, and with `bin/`. */
export function builtGo(): Promise<string> {
  const inputs = sources.flatMap((name) => [
    join(repositoryRoot, folder, name),
    join(repositoryRoot, folder, name, "*"),
  ]);
  return built("go", [...inputs, protoFiles], async (made) => {
    await cp(join(repositoryRoot, "proto"), join(made, "proto"), { recursive: true });
    for (const name of sources) {
      await cp(join(repositoryRoot, folder, name), join(made, folder, name), { recursive: true });
    }
    const cwd = join(made, folder);
    await run(join(repositoryRoot, "node_modules/.bin/buf"), ["generate"], { cwd });
    await run("go", ["build", "-o", join(made, "bin/"), "./agent", "./client"], { cwd });
  });
}
