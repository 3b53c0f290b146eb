import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, copyFile, cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { repositoryRoot, run } from "../harness/run-program.ts";
import { debian } from "./debian.ts";

/** Why no image can be built on this machine; undefined if one can. For a test's `skip`. */
export function whyNoBuildah(): string | undefined {
  if (process.getuid?.() !== 0) return "building without root is not tried";
  for (const tool of ["buildah", "debootstrap"]) {
    const { error } = spawnSync(tool, ["--version"]);
    if (error !== undefined) return `${tool} cannot be run: ${error.message}`;
  }
  return undefined;
}

/** An image built from the Dockerfile, in a store of its own that is deleted with it. */
export class Image implements AsyncDisposable {
  readonly name = "localhost/legion:test";
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async build(): Promise<Image> {
    const image = new Image(await mkdtemp(join(tmpdir(), "legion-image-")));
    await using undo = new AsyncDisposableStack();
    undo.use(image);
    await image.#standIn(await baseName());
    // npm is told here how this machine reaches its registry; the Dockerfile's secret is not kept in the image.
    const npmrc = join(image.#folder, "npmrc");
    await writeFile(npmrc, `${await npmSettings()}\ncafile=/opt/authority.pem\n`);
    const volume = ["--volume", `${authority()}:/opt/authority.pem:ro`];
    const secret = ["--secret", `id=npmrc,src=${npmrc}`];
    await image.buildah(
      "bud",
      "--isolation",
      "chroot",
      ...secret,
      ...volume,
      "--pull-never",
      "--tag",
      image.name,
      repositoryRoot,
    );
    undo.move();
    return image;
  }

  /** Runs buildah on this store. @throws with what it says when it fails */
  async buildah(command: string, ...args: string[]): Promise<string> {
    const store = [
      "--storage-driver",
      "vfs",
      "--root",
      join(this.#folder, "root"),
      "--runroot",
      join(this.#folder, "run"),
    ];
    return await run("buildah", [...store, command, ...args]);
  }

  /** A container of the image: its name, and the folder with its files. */
  async container(): Promise<{ name: string; files: string }> {
    const name = `legion-${randomBytes(4).toString("hex")}`;
    await this.buildah("from", "--pull-never", "--name", name, this.name);
    return { name, files: (await this.buildah("mount", name)).trim() };
  }

  /** The base image cannot be fetched everywhere: Debian, and the Node and npm of this machine, under its name. */
  async #standIn(base: string): Promise<void> {
    const name = (await this.buildah("from", "scratch")).trim();
    await this.buildah("add", "--quiet", name, join(await debian(), "debian.tar"), "/");
    const files = (await this.buildah("mount", name)).trim();
    const bin = join(files, "usr/local/bin");
    await copyFile(await realpath(process.execPath), join(bin, "node"));
    await chmod(join(bin, "node"), 0o755);
    const npm = await npmFolder();
    await mkdir(join(files, "usr/local/lib/node_modules"), { recursive: true });
    await cp(npm, join(files, "usr/local/lib/node_modules/npm"), { recursive: true, dereference: true });
    await writeFile(join(bin, "npm"), '#!/bin/sh\nexec node /usr/local/lib/node_modules/npm/bin/npm-cli.js "$@"\n', {
      mode: 0o755,
    });
    await this.buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", "--env", "NODE_VERSION=stand-in", name);
    await this.buildah("commit", "--quiet", name, base);
    await this.buildah("rm", name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.buildah("umount", "--all").catch(() => {});
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function baseName(): Promise<string> {
  const [, name] = /^FROM (\S+)/m.exec(await readFile(join(repositoryRoot, "Dockerfile"), "utf8")) ?? [];
  if (name === undefined) throw new Error("The Dockerfile has no FROM.");
  return name;
}

async function npmFolder(): Promise<string> {
  return dirname(dirname(await realpath((await run("sh", ["-c", "command -v npm"])).trim())));
}

/** What npm of this machine knows of its registry. */
async function npmSettings(): Promise<string> {
  const get = async (key: string): Promise<string> => (await run("npm", ["config", "get", key])).trim();
  const user = await readFile(await get("userconfig"), "utf8").catch(() => "");
  return `${user}\nregistry=${await get("registry")}`;
}

/** Whom this machine trusts: a registry may be reached by way of something that signs for itself. */
function authority(): string {
  return process.env["NODE_EXTRA_CA_CERTS"] || "/etc/ssl/certs/ca-certificates.crt";
}
