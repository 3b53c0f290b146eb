import { join } from "node:path";
import { cacheFolder } from "../../harness/build-cache.ts";
import { repositoryRoot } from "../../harness/run-program.ts";
import type { Command, Language } from "../language.ts";

const folder = join(repositoryRoot, "test/agents/typescript");

const program = (file: string): Command => ({
  file: process.execPath,
  args: [join(folder, file)],
  env: { NODE_COMPILE_CACHE: cacheFolder("typescript") },
});

export const typescript: Language = {
  name: "typescript",
  whyNot: () => undefined,
  prepare: () => Promise.resolve({ agent: program("agent.ts"), client: program("client.ts") }),
};
