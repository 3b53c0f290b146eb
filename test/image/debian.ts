import { rm } from "node:fs/promises";
import { join } from "node:path";
import { built } from "../harness/build-cache.ts";
import { run } from "../harness/run-program.ts";

const suite = "bookworm";
const include = "ca-certificates,libatomic1,libstdc++6";

/** A folder with debian.tar: what the base image stands on, with the libraries that Node needs. */
export async function debian(): Promise<string> {
  return await built("debian", [import.meta.filename], async (folder) => {
    const sources = await run("sh", [
      "-c",
      "cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true",
    ]);
    const [, mirror = ""] = /^(?:URIs:|deb) *(http\S+)/m.exec(sources) ?? [];
    const tree = join(folder, "tree");
    await run("debootstrap", ["--variant=minbase", `--include=${include}`, suite, tree, ...(mirror ? [mirror] : [])]);
    const leaveOut = [
      "./dev/*",
      "./var/cache/*",
      "./var/lib/apt/lists/*",
      "./usr/share/doc/*",
      "./usr/share/locale/*",
      "./etc/apt/*",
    ];
    await run("tar", [
      "-C",
      tree,
      ...leaveOut.map((path) => `--exclude=${path}`),
      "-cf",
      join(folder, "debian.tar"),
      ".",
    ]);
    await rm(tree, { recursive: true });
  });
}
