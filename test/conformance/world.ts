import { join } from "node:path";
import { packageRoot } from "#libs/cli/dev/package-root.ts";
import { LegionCore } from "#libs/client/index.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { freePorts } from "../harness/free-ports.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import type { Endpoints } from "./endpoints.ts";

export const hastyLeaseMs = 3_000;

/** One mesh for all the behaviours of a language. */
export class World implements AsyncDisposable {
  readonly mesh: Mesh;
  /** A Registry of the same mesh that gives a session up after 3 s of silence; the others after 30. */
  readonly hasty: MeshProcess;
  readonly core: LegionCore;
  readonly registry;
  readonly #stack: AsyncDisposableStack;

  static async start(): Promise<World> {
    await using stack = new AsyncDisposableStack();
    // Longer than a killed Registry takes to be back on a slow machine.
    const mesh = stack.use(await startMesh({ env: { SESSION_LEASE: "30s", SESSION_GRACE: "30s" } }));
    const [grpcPort = 0, httpPort = 0] = await freePorts(2);
    const env = {
      ...mesh.env,
      SESSION_LEASE: `${hastyLeaseMs}ms`,
      HEARTBEAT_INTERVAL: "500ms",
      GRPC_PORT: String(grpcPort),
      HTTP_PORT: String(httpPort),
    };
    const main = join(packageRoot, "services/registry/main.ts");
    const hasty = new MeshProcess({ name: "registry-hasty", main, env, grpcPort, httpPort });
    mesh.processes.set(hasty.name, hasty);
    await hasty.start();
    return new World(mesh, hasty, stack.move());
  }

  private constructor(mesh: Mesh, hasty: MeshProcess, stack: AsyncDisposableStack) {
    this.mesh = mesh;
    this.hasty = hasty;
    this.#stack = stack;
    const { LEGION_DISPATCHER: dispatcher = "" } = mesh.env;
    // The door is the mesh's: this client lets everything through to it.
    this.core = stack.use(new LegionCore({ dispatcher, maxTaskDataBytes: 16 * 1024 * 1024 }));
    const channel = stack.adopt(new GrpcChannel(mesh.registry.address), (each) => each.close());
    this.registry = createClient(RegistryService, channel);
  }

  get endpoints(): Endpoints {
    return { registry: [this.mesh.registry.address], dispatcher: [this.mesh.dispatcher.address] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
