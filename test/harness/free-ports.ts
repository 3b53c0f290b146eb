import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Below the range from which the kernel takes ports for outgoing connections (32,768 up, on macOS 49,152): a port that is
// to be listened on later, or again after a restart, must not be lost to a passing connection. Each test process begins in
// a stretch of its own and notes what it takes in a file, so that no two that run at the same time take the same.
const lowest = 12_000;
const highest = 32_000;
const stretch = 100;
let next = lowest + ((process.pid * stretch) % (highest - lowest));

/** `count` ports of 127.0.0.1 on which nobody listens, never given out before by this process. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = next++;
    if (next >= highest) next = lowest;
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

const notes = join(tmpdir(), "legion-test-ports");
const taken: string[] = [];
process.on("exit", () => {
  for (const note of taken) rmSync(note, { force: true });
});

/** Takes a port for this process, unless another one that lives has it. */
function take(port: number): boolean {
  mkdirSync(notes, { recursive: true });
  const note = join(notes, String(port));
  for (let tries = 0; tries < 2; tries++) {
    try {
      writeFileSync(note, String(process.pid), { flag: "wx" });
      taken.push(note);
      return true;
    } catch {
      if (isAlive(note)) return false;
      rmSync(note, { force: true });
    }
  }
  return false;
}

function isAlive(note: string): boolean {
  try {
    process.kill(Number(readFileSync(note, "utf8")), 0);
    return true;
  } catch {
    return false;
  }
}

function isFree(port: number): Promise<boolean> {
  if (!take(port)) return Promise.resolve(false);
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** A port base with which a mesh finds all its ports free: N + 1 to 4 and N + 11 to 14. */
export async function freePortBase(): Promise<number> {
  for (;;) {
    const portBase = next;
    next = portBase + 20 < highest ? portBase + 20 : lowest;
    const ports = [1, 2, 3, 4, 11, 12, 13, 14].map((offset) => portBase + offset);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return portBase;
  }
}
