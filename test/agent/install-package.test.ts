import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { packageInstaller, runCommand } from "#libs/agent/index.ts";
import { startNpmRegistry } from "./harness/npm-registry.ts";

async function temporary() {
  return await mkdtempDisposable(join(tmpdir(), "install-package-"));
}

async function has(command: string, ...args: string[]): Promise<boolean> {
  return await runCommand(command, args).then(
    () => true,
    () => false,
  );
}

test("npm: what is allowed is installed without its scripts, and what would bring more is not", async (t) => {
  if (!(await has("npm", "--version"))) return t.skip("there is no npm");
  await using folder = await temporary();
  const ran = join(folder.path, "ran");
  const scripts = { preinstall: `touch ${ran}`, install: `touch ${ran}`, postinstall: `touch ${ran}` };
  await using registry = await startNpmRegistry(join(folder.path, "registry"), [
    { name: "plain", version: "1.0.0", scripts },
    { name: "needs-plain", version: "2.0.0", dependencies: { plain: "^1.0.0" }, scripts },
    { name: "needs-more", version: "3.0.0", dependencies: { "needs-plain": "*", unlisted: "*" } },
    { name: "unlisted", version: "1.0.0" },
  ]);
  process.env["npm_config_registry"] = `http://127.0.0.1:${registry.port}/`;
  process.env["npm_config_cache"] = join(folder.path, "cache");
  const directory = join(folder.path, "packages");
  const install = packageInstaller({
    ecosystem: "npm",
    allow: ["plain", { name: "needs-plain", versions: ["2.0.0"] }, "needs-more"],
    directory,
    inheritEnv: ["npm_config_cache"],
  });
  await assert.rejects(install("unlisted", "1.0.0"), { code: "PACKAGE_REFUSED" });
  assert.deepEqual(registry.requests, []);

  // At once, for one waits for the other.
  const [refused, installed] = await Promise.allSettled([
    install("needs-more", "3.0.0"),
    install("needs-plain", "2.0.0"),
  ]);
  assert.equal(refused.status, "rejected");
  assert.equal(refused.reason.code, "PACKAGE_REFUSED");
  assert.match(
    refused.reason.message,
    /^needs-more 3\.0\.0 would bring what is not allowed, and was not installed: The package "unlisted" is not on/,
  );
  assert.deepEqual(installed, { status: "fulfilled", value: { name: "needs-plain", version: "2.0.0", directory } });
  assert.deepEqual(
    (await readdir(join(directory, "node_modules"))).filter((name) => !name.startsWith(".")).toSorted(),
    ["needs-plain", "plain"],
  );
  assert.ok(!(await readdir(folder.path)).includes("ran"));

  const before = await readFile(join(directory, "package.json"), "utf8");
  assert.deepEqual(JSON.parse(before), { dependencies: { "needs-plain": "2.0.0" } });
  await assert.rejects(install("plain", "1.0.1"), { code: "COMMAND_FAILED" });
  await assert.rejects(install("plain", "1.0.0", { signal: AbortSignal.abort() }), { code: "COMMAND_CANCELED" });
  assert.equal(await readFile(join(directory, "package.json"), "utf8"), before);
});

test("npm: a dependency from elsewhere is refused before it is fetched", async (t) => {
  if (!(await has("npm", "--version"))) return t.skip("there is no npm");
  await using folder = await temporary();
  const git = "git+file:///nowhere/plain.git";
  await using registry = await startNpmRegistry(join(folder.path, "registry"), [
    { name: "plain", version: "1.0.0" },
    { name: "alias", version: "1.0.0", dependencies: { plain: "npm:unlisted@1.0.0" } },
    { name: "from-git", version: "1.0.0", dependencies: { plain: git } },
    { name: "unlisted", version: "1.0.0" },
  ]);
  process.env["npm_config_registry"] = `http://127.0.0.1:${registry.port}/`;
  process.env["npm_config_cache"] = join(folder.path, "cache");
  const directory = join(folder.path, "packages");
  const allow = ["plain", "alias", "from-git"];
  const install = packageInstaller({ ecosystem: "npm", allow, directory, inheritEnv: ["npm_config_cache"] });
  await assert.rejects(install("alias", "1.0.0"), /"alias" wants "plain" from "npm:unlisted@1\.0\.0"/);
  // npm refuses it by itself, where it is new enough; an older one fails to fetch it.
  await assert.rejects(install("from-git", "1.0.0"), { code: "COMMAND_FAILED", message: /EALLOWGIT|nowhere/ });
  assert.ok(!(await readdir(directory)).includes("node_modules"));
});

test("pip: a wheel is installed by its normal name, without its dependencies; what must be built is not", async (t) => {
  if (!(await has("python3", "-I", "-m", "pip", "--version"))) return t.skip("there is no pip");
  await using folder = await temporary();
  const info = join(folder.path, "the_tool-1.0.dist-info");
  await mkdir(info);
  await writeFile(join(folder.path, "the_tool.py"), "answer = 42\n");
  await writeFile(
    join(info, "METADATA"),
    "Metadata-Version: 2.1\nName: The.Tool\nVersion: 1.0\nRequires-Dist: not-there\n",
  );
  await writeFile(join(info, "WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n");
  await writeFile(join(info, "RECORD"), "the_tool.py,,\n");
  const wheel = ["-c", "the_tool-1.0-py3-none-any.whl", "the_tool.py", "the_tool-1.0.dist-info"];
  await runCommand("python3", ["-m", "zipfile", ...wheel], { cwd: folder.path });
  await writeFile(join(folder.path, "built-1.0.tar.gz"), "");
  process.env["PIP_FIND_LINKS"] = folder.path;
  process.env["PIP_NO_INDEX"] = "1";
  const directory = join(folder.path, "packages");
  const allow = ["the-tool", "built"];
  const install = packageInstaller({
    ecosystem: "pypi",
    allow,
    directory,
    inheritEnv: ["PIP_FIND_LINKS", "PIP_NO_INDEX"],
  });
  await assert.rejects(install("not-there", "1.0"), { code: "PACKAGE_REFUSED" });
  assert.deepEqual(await install("The_Tool", "1.0"), { name: "the-tool", version: "1.0", directory });
  const { stdout } = await runCommand("python3", ["-c", "import the_tool; print(the_tool.answer)"], {
    env: { PYTHONPATH: directory },
  });
  assert.equal(stdout, "42\n");
  await assert.rejects(install("built", "1.0"), { code: "COMMAND_FAILED", message: /No matching distribution/ });
});
