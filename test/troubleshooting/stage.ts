import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { type Mesh, type MeshOptions, serviceNames, startMesh } from "../harness/mesh.ts";
import type { MeshProcess } from "../harness/mesh-process.ts";
import { Shell } from "./shell.ts";

/** Makes one failure happen, looks at it as a user would, and mends it as the page says. */
export type Provocation = (stage: Stage) => Promise<void>;

/** What provocations may have together: a mesh with the demo agents that nobody kills. */
export class House implements AsyncDisposable {
  readonly #meshes = new Map<MeshKind, Promise<Mesh>>();

  mesh(kind: MeshKind): Promise<Mesh> {
    const mesh = this.#meshes.get(kind) ?? startMesh(meshOptions[kind]);
    this.#meshes.set(kind, mesh);
    return mesh;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const mesh of this.#meshes.values()) await (await mesh)[Symbol.asyncDispose]();
  }
}

const meshOptions = {
  /** With the demo agents. */
  usual: { agents: true },
  /** Gives up agents that are silent after 1.5 s instead of 10, and judges versions sooner. */
  impatient: {
    env: { HEARTBEAT_INTERVAL: "500ms", SESSION_LEASE: "1500ms", STAGE_EXECUTIONS: "60", JUDGE_INTERVAL: "50ms" },
  },
} satisfies Record<string, MeshOptions>;

type MeshKind = keyof typeof meshOptions;

/** Where one provocation plays. */
export class Stage implements AsyncDisposable {
  readonly shell: Shell;
  readonly #house: House;
  readonly #own = new AsyncDisposableStack();

  constructor(house: House, options: { live?: boolean } = {}) {
    this.#house = house;
    this.shell = this.#own.use(new Shell(options));
  }

  /** A mesh that all share; the shell's commands talk to it, and the page shows it on the default ports. */
  async mesh(kind: MeshKind = "usual"): Promise<Mesh> {
    return this.enter(await this.#house.mesh(kind));
  }

  /** Makes the shell's commands talk to this mesh. */
  enter(mesh: Mesh): Mesh {
    for (const [name, value] of Object.entries(mesh.env)) {
      if (name.startsWith("LEGION_") || name === "DATABASE_URL") this.shell.env[name] = value;
    }
    for (const [index, name] of serviceNames.entries()) this.showPorts(mesh.process(name), 7_401 + index);
    return mesh;
  }

  showPorts({ address, httpPort }: Pick<MeshProcess, "address" | "httpPort">, shownGrpcPort: number): void {
    this.shell.alias(address.split(":").at(-1) ?? "", shownGrpcPort);
    this.shell.alias(httpPort, shownGrpcPort + 10);
  }

  /** Somebody with all rights asks Postgres something; rows are shown with `|` between their fields. */
  async sql(connectionString: string, statement: string): Promise<void> {
    const client = new Client({ connectionString });
    await client.connect();
    try {
      const { rows } = await client.query<Record<string, unknown>>(statement);
      const lines = rows.map((row) => Object.values(row).map(String).join(" | "));
      this.shell.keep(`# ${statement};`, lines.join("\n"));
    } finally {
      await client.end();
    }
  }

  /** Gone with the stage, last come first. */
  use<T extends Disposable | AsyncDisposable>(resource: T): T {
    return this.#own.use(resource as T & AsyncDisposable);
  }

  defer(undo: () => unknown): void {
    this.#own.defer(async () => {
      await undo();
    });
  }

  /** An empty directory, called `shown` on the page. */
  async directory(shown: string): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), "legion-trouble-"));
    this.defer(() => rm(path, { recursive: true, force: true }));
    this.shell.alias(path, shown);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#own.disposeAsync();
  }
}
