import { fromBinary } from "@bufbuild/protobuf";
import { systemClock } from "#libs/clock/clock.ts";
import { hostPortText } from "#libs/config/env.ts";
import { retryWhileDisconnected } from "#libs/db/connection-failure.ts";
import { Notifier } from "#libs/db/notifier.ts";
import { OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { SchemaValidator } from "#libs/schema/schema-validator.ts";
import type { ServiceHost } from "#libs/service/service-host.ts";
import { boundedLabel } from "#libs/telemetry/metrics.ts";
import type { DispatcherConfig } from "../config.ts";
import { Matcher } from "../core/matcher.ts";
import { findOutcomes } from "../sql/find-tasks.ts";
import { Admission } from "./admission.ts";
import { AgentFrames } from "./agent-frames.ts";
import { Assigner } from "./assigner.ts";
import { Cancellation } from "./cancellation.ts";
import { DueTimer } from "./due-timer.ts";
import { Finisher, type FinisherEvents } from "./finisher.ts";
import { Gates } from "./gates.ts";
import { Handover } from "./handover.ts";
import { Hints } from "./hints.ts";
import { Home } from "./home.ts";
import { InputSchemas } from "./input-schemas.ts";
import { Instance } from "./instance.ts";
import { decodeSpec, LeaseBook } from "./lease-book.ts";
import { KnownTasks } from "./known-tasks.ts";
import { LimitGate } from "./limit-gate.ts";
import { observeEngine } from "./observe.ts";
import { RouteTable, type LiveRoute } from "./route-table.ts";
import { Samples } from "./samples.ts";
import { SegmentKeeper } from "./segment-keeper.ts";
import type { HomeSession } from "./session.ts";
import { TaskReader } from "./task-reader.ts";
import { SubmissionCounts } from "./submission-counts.ts";
import { Waiters } from "./waiters.ts";

const clock = systemClock;

/** The Dispatcher's state and all that works on it, put together. */
export type Engine = Awaited<ReturnType<typeof buildEngine>>;

export async function buildEngine(host: ServiceHost, config: DispatcherConfig) {
  const { pool, log, metrics } = host;
  const stopping = new AbortController();
  const { signal } = stopping;

  const instance = await Instance.register(pool, clock, {
    instanceId: host.instanceId,
    leaseMs: config.INSTANCE_LEASE,
  });
  const { instanceKey } = instance;
  const segments = new SegmentKeeper(pool, config.RETENTION, log);
  const schemas = new InputSchemas(pool, host.use(new SchemaValidator()));
  const routes = new RouteTable(pool);
  await Promise.all([segments.tick(), schemas.refresh(), routes.refresh()]);

  const notifier = host.use(
    new Notifier({
      connectionString: config.DATABASE_URL,
      applicationName: "legion-dispatcher-hints",
      onError: (err) => log.debug("the connection for hints broke", { err }),
    }),
  );
  const hints = new Hints(notifier, instance, signal);
  const rateLimit = host.use(new GrpcChannel(config.LEGION_RATELIMIT.map(hostPortText), { balance: "per-call" }));
  const watchdog = host.use(new GrpcChannel(config.LEGION_WATCHDOG.map(hostPortText), { balance: "per-call" }));
  const rateLimitClient = createClient(RateLimitService, rateLimit);
  const limits = host.use(
    new LimitGate({
      rateLimit: rateLimitClient,
      holderId: host.instanceId,
      known: new KnownTasks(pool),
      clock,
      log,
      metrics,
    }),
  );
  const dropped = metrics.counter("samples_dropped_total", "Execution samples given up because the Watchdog was away");
  const samples = new Samples(createClient(WatchdogService, watchdog), clock, dropped);

  const capabilityLabel = boundedLabel([], 100);
  const waiters = new Waiters();
  const matcher = new Matcher<HomeSession>();
  const leases = new LeaseBook(matcher, clock);
  const assigner = new Assigner({ pool, clock, routes, matcher, instanceKey, log });
  const gates = host.use(
    new Gates({
      waiters,
      hints,
      pool,
      clock,
      log,
      routes,
      matcher,
      limits,
      rateLimit: rateLimitClient,
      instanceKey,
      onQueued: queued,
    }),
  );
  const dueTimer = host.use(
    new DueTimer({
      pool,
      clock,
      routes,
      onQueued: queued,
      onParked: () => gates.keeper.expect(0),
      onError: (err) => log.debug("due tasks could not be released", { err }),
    }),
  );
  const observed = observeEngine({ clock, metrics, matcher, leases, capabilityLabel });
  const finisher = new Finisher(
    pool,
    clock,
    log,
    finished({ waiters, hints, assigner, dueTimer, gates, observed, lookUp }),
  );
  metrics.observableGauge(
    "outcomes_pending",
    "Ends of attempts that are on their way into the database",
    () => finisher.pending,
  );
  const handover = new Handover({
    clock,
    matcher,
    leases,
    finisher,
    waiters,
    started: (capability, submitTimeMs) => observed.started(capability, submitTimeMs),
  });
  const onReady = (session: HomeSession): void => assigner.freed(session);
  const home = new Home({ pool, clock, log, matcher, leases, finisher, routes, schemas, instanceKey, signal, onReady });
  const frames = new AgentFrames({
    pool,
    matcher,
    leases,
    finisher,
    waiters,
    samples,
    routes,
    log,
    maxResultBytes: config.MAX_RESULT_BYTES,
    signal,
    onReady,
    whenPaused: () => gates.carrier.carried(),
  });
  const reader = new TaskReader({ pool, routes, matcher });
  const cancellation = new Cancellation({
    pool,
    reader,
    routes,
    leases,
    frames,
    waiters,
    hints,
    instance,
    onSlotsFreed: (gateKeys) => gates.keeper.freed(gateKeys),
  });
  const counts = new SubmissionCounts(metrics);
  const admission = new Admission({
    pool,
    clock,
    log,
    routes,
    segments,
    assigner,
    lanes: gates.admission,
    schemas,
    waiters,
    counts,
    instanceKey,
    maxTaskDataBytes: config.MAX_TASK_DATA_BYTES,
    onLeased: (session, spec, route, stored) =>
      handover.send(session, spec, route, {
        ...stored,
        attempt: 1,
        rank: -spec.priority,
        submitter: instanceKey,
      }),
    onQueued: queued,
    onParked: (waitMs) => gates.keeper.expect(waitMs),
    onScheduled: (dueTimeMs) => dueTimer.expect(dueTimeMs - clock.now()),
    onSlotUnused: (session, route) => matcher.giveBack(session, route.capability),
  });

  leases.onFreed = onReady;
  assigner.onClaimed = (route, session, { spec, ...claimed }) =>
    handover.send(session, decodeSpec(spec), route, claimed);

  function queued(route: LiveRoute, rank: number, taskKey: number): void {
    assigner.queued(route, { rank, taskKey });
    // Sessions with free slots, or with the labels, may be at another home.
    if (route.requiredLabels.length > 0 || !matcher.hasFree(route.namespace, route.capability)) {
      hints.queued(route.routeKey, { rank, taskKey });
    }
  }

  /** Tells waiters of outcomes that were recorded elsewhere, or here by a statement whose answer was lost. */
  async function lookUp(tasks: { segment: number; taskKey: number; taskName: string }[]): Promise<void> {
    const names = new Map(tasks.map(({ taskKey, taskName }) => [taskKey, taskName]));
    for (const row of await retryWhileDisconnected(() => findOutcomes(pool, tasks), { signal })) {
      const outcome = fromBinary(OutcomeSchema, row.outcome);
      waiters.ended(names.get(row.task_key)!, { state: row.state, attempt: row.attempt, outcome });
    }
  }

  return {
    instance,
    segments,
    schemas,
    routes,
    hints,
    limits,
    gates,
    samples,
    waiters,
    matcher,
    leases,
    assigner,
    dueTimer,
    finisher,
    home,
    frames,
    reader,
    cancellation,
    admission,
    counts,
    stopping,
    lookUp,
    capabilityLabel,
  };
}

function finished(parts: {
  waiters: Waiters;
  hints: Hints;
  assigner: Assigner;
  dueTimer: DueTimer;
  gates: Gates;
  observed: ReturnType<typeof observeEngine>;
  lookUp(tasks: { segment: number; taskKey: number; taskName: string }[]): Promise<void>;
}): FinisherEvents {
  const { waiters, hints, assigner, dueTimer, gates, observed } = parts;
  return {
    slotsFreed: (gateKeys) => gates.keeper.freed(gateKeys),
    noted: () => gates.carrier.nudge(),
    ended(ending, { state, outcome }, times) {
      observed.ended(ending, state);
      const { agentId, sessionId } = ending.session;
      const execution = sessionId === undefined ? undefined : { agentId, sessionId, ...times };
      waiters.ended(ending.taskName, { state, attempt: ending.attempt, outcome, execution });
      hints.ended(ending.submitter, ending.taskKey);
    },
    again(ending, decision) {
      observed.again(ending, decision);
      const { attempts, delayMs, failure } = decision;
      const route = ending.route as LiveRoute;
      if (delayMs > 0) {
        dueTimer.expect(delayMs);
      } else {
        assigner.queued(route, ending);
        hints.queued(route.routeKey, ending);
      }
      if (!waiters.isAwaited(ending.taskName)) return;
      const state = delayMs > 0 ? TaskState.SCHEDULED : TaskState.QUEUED;
      waiters.changed(ending.taskName, { state, attempt: attempts, agentId: "", lastFailure: failure });
    },
    lost(ending) {
      // Without a place by which it could be told, nobody waits for it.
      if (waiters.isAwaited(ending.taskName)) void parts.lookUp([ending]).catch(() => {});
    },
  };
}
