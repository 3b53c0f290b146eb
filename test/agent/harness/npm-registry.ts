import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { runCommand } from "#libs/agent/index.ts";

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly [field: string]: unknown;
}

/** An npm registry with these packages, each nothing but its manifest. `directory` is for its files. */
export async function startNpmRegistry(directory: string, manifests: readonly Manifest[]) {
  const tarballs = new Map<string, Buffer>();
  for (const manifest of manifests) {
    const folder = join(directory, manifest.name);
    await mkdir(join(folder, "package"), { recursive: true });
    await writeFile(join(folder, "package", "package.json"), JSON.stringify(manifest));
    await runCommand("tar", ["-czf", "package.tgz", "package"], { cwd: folder });
    tarballs.set(manifest.name, await readFile(join(folder, "package.tgz")));
  }
  const requests: string[] = [];
  const server = createServer(({ url = "", headers }, response) => {
    requests.push(url);
    const name = url.slice(1).replace(/\.tgz$/, "");
    const manifest = manifests.find((each) => each.name === name);
    const tarball = tarballs.get(name);
    if (manifest === undefined || tarball === undefined) {
      response.writeHead(404).end("{}");
    } else if (url.endsWith(".tgz")) {
      response.end(tarball);
    } else {
      const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
      const dist = { tarball: `http://${headers.host}/${name}.tgz`, integrity };
      const { version } = manifest;
      const versions = { [version]: { ...manifest, dist } };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ name, "dist-tags": { latest: version }, versions }));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    port,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
