import { systemClock } from "#libs/clock/clock.ts";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { LinkService } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import { startHost, type ServiceHost } from "#libs/service/service-host.ts";
import type { DispatcherConfig } from "./config.ts";
import { buildEngine, type Engine } from "./engine/engine.ts";
import { Links } from "./engine/links.ts";
import { keepHouse } from "./engine/housekeeping.ts";
import { cancelTask } from "./rpc/cancel-task.ts";
import { getHealth } from "./rpc/get-health.ts";
import { getMetrics } from "./rpc/get-metrics.ts";
import { getTask } from "./rpc/get-task.ts";
import { acceptLink } from "./rpc/link.ts";
import { listTasks } from "./rpc/list-tasks.ts";
import { runTask } from "./rpc/run-task.ts";
import { acceptSubmitStream } from "./rpc/submit-stream.ts";
import { submitTask } from "./rpc/submit-task.ts";
import { submitTasks } from "./rpc/submit-tasks.ts";
import { watchTask } from "./rpc/watch-task.ts";
import { saveTotalAgents } from "./sql/counters.ts";
import { poolSettings } from "./sql/pool-settings.ts";

export async function startDispatcher(config: DispatcherConfig, signal?: AbortSignal): Promise<ServiceHost> {
  await using stack = new AsyncDisposableStack();
  const migrationsDirectory = new URL("./sql/migrations/", import.meta.url);
  const host = stack.use(await startHost({ name: "dispatcher", config, migrationsDirectory, poolSettings, signal }));
  const engine = await buildEngine(host, config);
  const links = new Links();
  links.onCounts = (total) =>
    void saveTotalAgents(host.pool, total).catch((err: unknown) =>
      host.log.debug("agents could not be counted", { err }),
    );
  mount(host, config, engine, links);
  host.readyWhen("limits", () => (engine.limits.limitsKnown ? undefined : "the RateLimit service was not reached yet"));
  keepHouse(host, config, engine);
  host.use({ [Symbol.asyncDispose]: () => close(engine, links) });
  await host.listen();
  stack.move();
  return host;
}

function mount(host: ServiceHost, config: DispatcherConfig, engine: Engine, links: Links): void {
  const { pool, log, instanceId } = host;
  const { admission, waiters, reader, cancellation, home, frames } = engine;
  const db = pool.kysely<unknown>();
  const startedMs = systemClock.monotonic();
  host.mount(DispatcherService, {
    submitTask: (request) => submitTask(request, admission),
    submitTasks: (request) => submitTasks(request, admission),
    runTask: (request, { signal }) => runTask(request, { admission, waiters, reader }, signal),
    getTask: (request) => getTask(request, reader),
    listTasks: (request) => listTasks(request, { db, reader }),
    watchTask: (request, { signal }) => watchTask(request, { reader, waiters, clock: systemClock }, signal),
    cancelTask: (request) => cancelTask(request, cancellation),
    getMetrics: () => getMetrics(pool, links),
    getHealth: () =>
      getHealth({
        databaseAnswers: host.databaseAnswers,
        links: links.count,
        activeAgents: links.activeAgents,
        rateLimitAnswers: engine.limits.reachable,
        watchdogAnswers: engine.samples.reachable,
        uptimeSeconds: (systemClock.monotonic() - startedMs) / 1_000,
      }),
  });
  host.grpc.mountStream(DispatcherService.method.submitStream, (stream) =>
    acceptSubmitStream(admission, waiters, stream),
  );
  const { MAX_RESULT_BYTES: maxResultBytes } = config;
  host.grpc.mountStream(LinkService.method.link, (stream) =>
    acceptLink({ home, frames, log, instanceId, maxResultBytes, links }, stream),
  );
}

/**
 * Takes no more, gives no more, commits what is under way, then lets go: sessions find another home, or this one when it is
 * back. In this order, since what is assigned to a session that is on its way to another home does not reach it.
 */
async function close(engine: Engine, links: Links): Promise<void> {
  engine.admission.closed = true;
  await Promise.all([engine.assigner.close(), engine.admission.drain()]);
  links.close();
  await engine.finisher[Symbol.asyncDispose]();
  engine.stopping.abort();
  await engine.instance.remove();
}
