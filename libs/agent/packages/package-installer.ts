import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import type { CommandOptions } from "../command/command-options.ts";
import { type AllowedPackage, AllowList, type ExactPackage } from "./allow-list.ts";
import { npmInstall } from "./npm-install.ts";
import type { Ecosystem } from "./package-names.ts";
import { pipInstall } from "./pip-install.ts";

export interface PackageInstallerOptions {
  readonly ecosystem: Ecosystem;
  /** Nothing else is installed, be it a dependency. */
  readonly allow: readonly AllowedPackage[];
  /**
   * Where to install: for npm what contains `node_modules`, for PyPI a folder for `PYTHONPATH`. Made if it is not there. It
   * must be the agent's own: two installers, or two processes, must not share it.
   */
  readonly directory: string;
  /** How long npm or pip may take for one step, in milliseconds; npm takes two. Default 300,000. */
  readonly timeoutMs?: number;
  /** Further variables that npm and pip may see, beside those for proxies, certificates and the package index. */
  readonly inheritEnv?: readonly string[];
}

export interface InstallOptions {
  /** Ends the installation when it aborts. */
  readonly signal?: AbortSignal;
}

export interface InstalledPackage extends ExactPackage {
  /** Absolute. */
  readonly directory: string;
}

export type InstallPackage = (name: string, version: string, options?: InstallOptions) => Promise<InstalledPackage>;

const seen = [
  ...["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"],
  ...["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "PIP_CERT"],
  ...["NPM_CONFIG_REGISTRY", "npm_config_registry", "PIP_INDEX_URL"],
];

/**
 * Makes a function that installs exact versions of packages on an allow list, one after another, and refuses all else. No
 * code of a package runs: npm is told to ignore install scripts, pip takes wheels only (what has none is not installed).
 * Dependencies must be on the list too. npm resolves the whole tree first, and nothing is installed unless all of it is
 * allowed, by name from the registry; pip installs the one package without its dependencies: install each by name.
 * It is npm and python3 on the PATH that install, from the registry that they are configured for, which is trusted. npm
 * should be 11.10 or newer: an older one may fetch a dependency from git to resolve it, before that is refused here.
 *
 * The function throws a TaskError: `PACKAGE_REFUSED`, not retryable, with a message that says what was wrong and what is
 * allowed; otherwise what `runCommand` throws, such as `COMMAND_FAILED` when the registry has no such version.
 * @throws TypeError if an entry of the allow list cannot be used.
 */
export function packageInstaller(options: PackageInstallerOptions): InstallPackage {
  const { ecosystem, timeoutMs = 300_000, inheritEnv = [] } = options;
  const allowList = new AllowList(ecosystem, options.allow);
  const directory = resolve(options.directory);
  let last: Promise<unknown> = Promise.resolve();

  const install = async (wanted: ExactPackage, signal: AbortSignal | undefined): Promise<InstalledPackage> => {
    await mkdir(directory, { recursive: true });
    const command: CommandOptions = { cwd: directory, timeoutMs, inheritEnv: [...seen, ...inheritEnv] };
    const settings = signal === undefined ? command : { ...command, signal };
    if (ecosystem === "npm") await npmInstall(directory, wanted, allowList, settings);
    else await pipInstall(directory, wanted, settings);
    return { ...wanted, directory };
  };
  return async (name, version, { signal } = {}) => {
    const wanted = allowList.check(name, version);
    const installed = last.then(() => install(wanted, signal));
    last = installed.catch(() => {});
    return await installed;
  };
}
