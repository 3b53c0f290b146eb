import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { waitFor } from "../harness/wait-for.ts";
import { Namespace, succeeded } from "./namespace.ts";
import { type Deployment, type Job, type KubeObject, namedBy, type Pod } from "./objects.ts";
import { limits, useControlPlane } from "./use.ts";
import { Timeline } from "./timeline.ts";

const production = join(import.meta.dirname, "../helm/values/production.yaml");
const services = ["registry", "dispatcher", "ratelimit", "watchdog"];

let namespace: Namespace;
let timeline: Timeline;
useControlPlane(async (plane) => {
  namespace = await Namespace.create(plane, "work");
  timeline = await Timeline.of(plane, namespace);
  succeeded(await namespace.deploy("install", "-f", production));
});
after(() => timeline?.[Symbol.asyncDispose]());

test("what the chart says is what is there", limits, async () => {
  const manifest = succeeded(await namespace.helm("get", "manifest", "mesh"));
  const objects = manifest.match(/^kind: /gm)?.length ?? 0;
  assert.ok(objects > 25, `${objects} objects`);
  const { code, stdout, stderr } = await namespace.tryKubectl(
    ["diff", "--server-side", "--force-conflicts", "-f", "-"],
    manifest,
  );
  assert.deepEqual([code, stdout, stderr], [0, "", ""]);
});

test("the migration was over before any Deployment was there", limits, async () => {
  const isOver = ({ object }: { object: Job }): boolean => object.status.succeeded === 1;
  const migrated = await timeline.first<Job>("Job", isOver, "the migration");
  assert.equal(migrated.object.metadata.name, "mesh-legion-migrate");
  for (const service of services) {
    const is = ({ object }: { object: Deployment }): boolean => object.metadata.name === `mesh-legion-${service}`;
    const { at, type } = await timeline.first<Deployment>("Deployment", is, `the ${service}`);
    assert.equal(type, "ADDED");
    assert.ok(at > migrated.at, `the ${service} was there before`);
  }
  assert.deepEqual(await namespace.list("jobs"), []);
});

test("when a pod began, all Secrets and ConfigMaps that it names were there", limits, async () => {
  const pods = timeline.of<Pod>("Pod").filter(({ type }) => type === "ADDED");
  assert.ok(pods.length >= 7, `${pods.length} pods`);
  for (const { object } of pods) assert.ok(namedBy(object).length >= 2, object.metadata.name);
  await timeline.nothingMissing();
});

test(
  "pods run, each of a service on a node and in a zone of its own, with the names that the Services give them",
  limits,
  async () => {
    for (const [service, count] of [
      ["registry", 3],
      ["ratelimit", 3],
      ["watchdog", 2],
      ["dispatcher", 1],
    ] as const) {
      const pods = await waitFor(
        async () => {
          const found = await namespace.pods(service);
          return found.length === count && found.every(isReady) && found;
        },
        { describe: `${count} pods of the ${service}`, timeoutMs: 60_000 },
      );
      const nodes = pods.map(({ spec }) => spec.nodeName);
      assert.equal(new Set(nodes).size, count, nodes.join());
      for (const node of nodes) assert.match(node!, /^services-[abc]$/);
      const addresses = pods.map(({ status }) => status.podIP!).toSorted();
      await waitFor(async () => (await addressesOf(service)).join() === addresses.join(), {
        describe: `the Service of the ${service} to have ${addresses.join()}`,
      });
    }
  },
);

function isReady({ status }: Pod): boolean {
  return status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false;
}

interface Slice extends KubeObject {
  readonly endpoints: readonly {
    readonly addresses: readonly string[];
    readonly conditions: { readonly ready: boolean };
  }[];
  readonly ports: readonly { readonly name: string; readonly port: number }[];
}

/** Those that DNS would answer with, which have both ports. */
async function addressesOf(service: string): Promise<string[]> {
  const slices = await namespace.list<Slice>("endpointslices", `kubernetes.io/service-name=mesh-legion-${service}`);
  const number = services.indexOf(service) + 1;
  return slices
    .flatMap(({ endpoints, ports }) => {
      assert.deepEqual(ports.map(({ name, port }) => `${name} ${port}`).toSorted(), [
        `grpc 740${number}`,
        `http 741${number}`,
      ]);
      return endpoints.filter(({ conditions }) => conditions.ready).flatMap(({ addresses }) => addresses);
    })
    .toSorted();
}

interface Scaler extends KubeObject {
  readonly spec: { readonly scaleTargetRef: { readonly name: string } };
  readonly status: {
    readonly currentReplicas: number;
    readonly desiredReplicas: number;
    readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  };
}

test("HorizontalPodAutoscalers have found their Deployments and brought them to the least number", limits, async () => {
  for (const service of ["registry", "ratelimit"]) {
    const scaler = await waitFor(
      async () => {
        const found = await namespace.get<Scaler>("horizontalpodautoscaler", `mesh-legion-${service}`);
        return found.status.currentReplicas === 3 && found;
      },
      { describe: `the ${service} to have 3 pods`, timeoutMs: 60_000 },
    );
    const able = scaler.status.conditions.find(({ type }) => type === "AbleToScale");
    assert.equal(able?.status, "True", JSON.stringify(scaler.status));
    assert.equal((await namespace.get<Deployment>("deployment", scaler.spec.scaleTargetRef.name)).spec.replicas, 3);
  }
  assert.equal((await namespace.list("horizontalpodautoscalers")).length, 2);
});

interface Budget extends KubeObject {
  readonly status: Readonly<Record<"expectedPods" | "currentHealthy" | "disruptionsAllowed", number>>;
}

test("PodDisruptionBudgets count the pods of their services", limits, async () => {
  const expected = { registry: 3, ratelimit: 3, dispatcher: 1 };
  for (const [service, pods] of Object.entries(expected)) {
    const is = { expectedPods: pods, currentHealthy: pods, disruptionsAllowed: 1 };
    await waitFor(
      async () => {
        const { status } = await namespace.get<Budget>("poddisruptionbudget", `mesh-legion-${service}`);
        for (const [name, value] of Object.entries(is)) assert.equal(status[name as keyof typeof is], value, name);
        return true;
      },
      { describe: `the budget of the ${service} to be ${JSON.stringify(is)}`, timeoutMs: 60_000 },
    );
  }
  assert.equal((await namespace.list("poddisruptionbudgets")).length, 3);
});

test("no pod, not even that of the migration, has a token, and with one it could do nothing", limits, async () => {
  const pods = timeline.of<Pod>("Pod");
  assert.ok(pods.some(({ object }) => object.metadata.name.startsWith("mesh-legion-migrate")));
  for (const { object } of pods) {
    assert.deepEqual(
      (object.spec.volumes ?? []).filter(({ projected }) => projected !== undefined),
      [],
    );
  }
  const rightsOf = (account: string): Promise<string> =>
    namespace.kubectl([
      "auth",
      "can-i",
      "--list",
      `--as=system:serviceaccount:work:${account}`,
      "--as-group=system:serviceaccounts",
      "--as-group=system:authenticated",
    ]);
  const nobodys = await rightsOf("nobody");
  assert.doesNotMatch(nobodys, /secrets|pods|configmaps|\*\.\*/);
  for (const service of services) {
    const account = `mesh-legion-${service}`;
    await namespace.get("serviceaccount", account);
    assert.equal(await rightsOf(account), nobodys);
  }
});
