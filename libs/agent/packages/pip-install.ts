import type { CommandOptions } from "../command/command-options.ts";
import { runCommand } from "../command/run-command.ts";
import type { ExactPackage } from "./allow-list.ts";

export async function pipInstall(directory: string, wanted: ExactPackage, options: CommandOptions): Promise<void> {
  // -I: else `-m` would take a pip.py that lies in the working directory.
  const pip = ["-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"];
  // A source distribution runs its own code when it is built. Without --upgrade pip leaves an older version in place.
  const rules = ["--only-binary", ":all:", "--no-deps", "--upgrade", "--target", directory];
  await runCommand("python3", [...pip, ...rules, "--", `${wanted.name}==${wanted.version}`], options);
}
