import { systemClock } from "#libs/clock/clock.ts";
import { Notifier } from "#libs/db/notifier.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { SchemaValidator } from "#libs/schema/schema-validator.ts";
import { startHost } from "#libs/service/service-host.ts";
import type { RegistryConfig } from "./config.ts";
import { Dispatchers } from "./engine/dispatchers.ts";
import { Registry } from "./engine/registry.ts";
import { RegistryMetrics } from "./engine/registry-metrics.ts";
import { observeRegistry } from "./engine/registry-gauges.ts";
import { tickMs } from "./engine/sessions.ts";
import { Upkeep } from "./engine/upkeep.ts";
import { connect } from "./rpc/connect.ts";
import { drainAgentHandler } from "./rpc/drain-agent.ts";
import { getAgentHandler } from "./rpc/get-agent.ts";
import { listAgentsHandler } from "./rpc/list-agents.ts";
import { listVersionsHandler } from "./rpc/list-versions.ts";
import { setVersionWeightHandler } from "./rpc/set-version-weight.ts";
import { advanceVersionHandler } from "./rpc/advance-version.ts";
import { barVersionHandler } from "./rpc/bar-version.ts";
import { ejectAgentHandler } from "./rpc/eject-agent.ts";
import { promoteVersionHandler } from "./rpc/promote-version.ts";
import { setRolloutPolicyHandler } from "./rpc/set-rollout-policy.ts";

// The supervisor kills after five seconds.
const graceMs = 1_000;

export interface RunningRegistry extends AsyncDisposable {
  readonly registryId: string;
  readonly grpcPort: number;
  readonly httpPort: number;
}

export async function startRegistry(config: RegistryConfig, signal?: AbortSignal): Promise<RunningRegistry> {
  await using stack = new AsyncDisposableStack();
  const migrationsDirectory = new URL("./sql/migrations/", import.meta.url);
  const host = stack.use(await startHost({ name: "registry", config, migrationsDirectory, signal }));
  const { pool, log, instanceId: registryId } = host;
  const clock = systemClock;
  const notifier = host.use(
    new Notifier({
      connectionString: config.DATABASE_URL,
      applicationName: "legion-registry-hints",
      onError: (err) => log.debug("the connection for hints broke", { err }),
    }),
  );
  const schemas = host.use(new SchemaValidator());
  const limits = {
    heartbeatIntervalMs: config.HEARTBEAT_INTERVAL,
    leaseMs: config.SESSION_LEASE,
    maxResultBytes: config.MAX_RESULT_BYTES,
  };
  const metrics = new RegistryMetrics(host.metrics);
  const checkSchema = (text: string) => schemas.checkSchema(text);
  const registry = new Registry({ registryId, limits, pool, notifier, clock, log, metrics, checkSchema });
  const { homes } = registry.sessions;
  const dispatchers = new Dispatchers({ targets: config.LEGION_DISPATCHER, registryId, clock, log, listener: homes });
  host.use({ [Symbol.asyncDispose]: () => dispatchers.close(graceMs / 4) });
  observeRegistry(host.metrics, registry.sessions, dispatchers);

  // Before the first session: a session whose Registry has no lease is anybody's.
  await registry.presence.renewal.tick();
  await registry.listen();
  const upkeep = new Upkeep({ registry, clock, log });
  const stop = new AbortController();
  host.use({ [Symbol.dispose]: () => stop.abort() });
  const loops = [
    registry.presence.renewal,
    registry.presence.sweep,
    registry.changes.ticker,
    upkeep.count,
    upkeep.compare,
    registry.rollouts.settling,
  ];
  for (const loop of loops) void loop.run(stop.signal);
  host.use(clock.setInterval(() => registry.tick(), tickMs));
  dispatchers.start();

  host.grpc.mountStream(RegistryService.method.connect, (stream, context) => connect(registry, stream, context));
  host.mount(RegistryService, {
    listAgents: listAgentsHandler(registry),
    getAgent: getAgentHandler(registry),
    drainAgent: drainAgentHandler(registry),
    listVersions: listVersionsHandler(registry),
    setVersionWeight: setVersionWeightHandler(registry),
    promoteVersion: promoteVersionHandler(registry),
    advanceVersion: advanceVersionHandler(registry),
    barVersion: barVersionHandler(registry),
    setRolloutPolicy: setRolloutPolicyHandler(registry),
    ejectAgent: ejectAgentHandler(registry),
  });
  host.use({ [Symbol.asyncDispose]: () => registry.close(graceMs) });
  await host.listen();
  const running = stack.move();
  return {
    registryId,
    grpcPort: host.grpcPort,
    httpPort: host.httpPort,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
