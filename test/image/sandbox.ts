import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

const living = new Set<ChildProcess>();
// A test that fails leaves nothing behind.
process.on("exit", () => living.forEach((child) => child.kill("SIGKILL")));

export interface Contained {
  readonly output: () => string;
  readonly exited: Promise<number | null>;
  readonly signal: (signal: NodeJS.Signals) => void;
}

// A mount name space of its own: the image's files read-only, as Kubernetes mounts them, and an empty /tmp. Without a shell
// in between, so that signals reach the program itself, which is the first process of its container.
const enter = `
  set -e
  mount --bind "$1" "$1"
  mount -o remount,bind,ro "$1"
  mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  files=$1 user=$2 path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin
  shift 2
  exec chroot --userspec="$user" "$files" /usr/bin/env --chdir=/app PATH="$path" "$@"`;

/** Runs a command on an image's files, as its user and with its environment, no file of theirs writable. */
export function runContained(
  files: string,
  { command, user, env }: { command: readonly string[]; user: string; env: Readonly<Record<string, string>> },
): Contained {
  const child = spawn(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-c", enter, "sh", files, user, ...command],
    {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  living.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-20_000)));
  }
  const exited = once(child, "close").then(([code]) => {
    living.delete(child);
    return code as number | null;
  });
  return { output: () => output, exited, signal: (signal) => void child.kill(signal) };
}
