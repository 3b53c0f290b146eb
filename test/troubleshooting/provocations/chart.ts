import { join } from "node:path";
import { goTools } from "../../tools/go-tools.ts";
import type { Provocation, Stage } from "../stage.ts";

async function helm(stage: Stage, settings: string): Promise<void> {
  const program = join(await goTools("helm"), "helm");
  stage.shell.alias(program, "helm");
  await stage.shell.run(`${program} template legion helm/legion ${settings} > /dev/null`);
}

const url = "--set database.url=postgres://legion:secret@db/legion";

const typo: Provocation = async (stage) => {
  await helm(stage, `${url} --set registry.replcas=5`);
  await helm(stage, `${url} --set registry.replicas=5`);
};

const noDatabase: Provocation = async (stage) => {
  await helm(stage, "");
  await helm(stage, "--set database.existingSecret=legion-postgres");
};

export const chart = { "chart-typo": typo, "chart-database": noDatabase };
