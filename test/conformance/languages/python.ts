import { join } from "node:path";
import { cleanly, pythonWithSdk, whyNoPython } from "../../agents/python/environments.ts";
import { repositoryRoot } from "../../harness/run-program.ts";
import type { Language } from "../language.ts";

const folder = join(repositoryRoot, "test/agents/python");

export const python: Language = {
  name: "python",
  whyNot: whyNoPython,
  async prepare() {
    const file = await pythonWithSdk();
    const program = (name: string) => ({ file, args: [join(folder, name)], env: cleanly });
    return { agent: program("agent.py"), client: program("client.py") };
  },
};
