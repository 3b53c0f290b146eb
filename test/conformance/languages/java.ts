import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { built, protoFiles } from "../../harness/build-cache.ts";
import { repositoryRoot, run } from "../../harness/run-program.ts";
import type { Command, Language } from "../language.ts";

const project = join(repositoryRoot, "test/agents/java");

/** The Java with which mvn compiles, which need not be the first on the path. */
function findJava(): { readonly version: number; readonly home: string } | { readonly absent: string } {
  const { error, stdout, stderr } = spawnSync("mvn", ["--batch-mode", "--version"], { encoding: "utf8" });
  if (error !== undefined) return { absent: `mvn cannot be run: ${error.message}` };
  const [, version, home] = /^Java version: (\d+).*, runtime: (.*)$/m.exec(stdout) ?? [];
  if (version === undefined || home === undefined) return { absent: `mvn finds no Java: ${stdout}${stderr}` };
  return { version: Number(version), home };
}

function whyNot(): string | undefined {
  const found = findJava();
  if ("absent" in found) return found.absent;
  return found.version >= 17 ? undefined : `mvn uses Java ${found.version}, and it takes 17 or newer`;
}

async function build(folder: string): Promise<void> {
  const args = ["-B", "-ntp", "-q", "-f", project, `-DbuildDirectory=${folder}`, "-Dmaven.test.skip", "package"];
  await run("mvn", args);
}

// A quick start counts for more than speed: the programs live for seconds.
const quickStart = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

export const java: Language = {
  name: "java",
  whyNot,
  async prepare() {
    const inputs = [join(project, "pom.xml"), join(project, "src/main/**/*.java"), protoFiles];
    const folder = await built("java", inputs, build);
    const found = findJava();
    if ("absent" in found) throw new Error(found.absent);
    const program = (main: string): Command => ({
      file: join(found.home, "bin/java"),
      args: [...quickStart, "-cp", `${folder}/classes:${folder}/lib/*`, main],
    });
    return { agent: program("ConformanceAgent"), client: program("Client") };
  },
};
