import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf, valueFiles } from "../helm/helm.ts";
import { Namespace, succeeded } from "./namespace.ts";
import { type Deployment, type Job, type Pod } from "./objects.ts";
import { limits, useControlPlane } from "./use.ts";
import { Timeline } from "./timeline.ts";

const services = ["registry", "dispatcher", "ratelimit", "watchdog"];
const minimal = valueFiles.find((file) => nameOf(file) === "minimal")!;

const cluster = useControlPlane();

async function installed(name: string, ...args: string[]): Promise<Namespace> {
  const namespace = await Namespace.create(cluster.plane, name);
  succeeded(await namespace.deploy("install", "-f", minimal, ...args));
  return namespace;
}

/** By service: which pods run, by their unchanging ids. */
async function podsOf(namespace: Namespace): Promise<Record<string, string[]>> {
  const pods = services.map(async (service) => [
    service,
    (await namespace.pods(service)).map(({ metadata }) => metadata.uid).toSorted(),
  ]);
  return Object.fromEntries(await Promise.all(pods)) as Record<string, string[]>;
}

test("a changed setting brings new pods to the service that reads it, and to no other", limits, async () => {
  const namespace = await installed("settings");
  const begun = await podsOf(namespace);
  succeeded(await namespace.deploy("upgrade", "-f", minimal, "--set", "registry.config.HEARTBEAT_INTERVAL=2s"));
  const { registry, ...others } = await podsOf(namespace);
  assert.equal(registry?.length, 3);
  assert.deepEqual(
    registry.filter((uid) => begun["registry"]!.includes(uid)),
    [],
  );
  delete begun["registry"];
  assert.deepEqual(others, begun);

  // Another password is nothing that a Deployment shows, but for its checksum.
  succeeded(
    await namespace.deploy(
      "upgrade",
      "-f",
      minimal,
      "--set",
      "database.url=postgres://legion:other@postgres.example/legion",
    ),
  );
  const replaced = await podsOf(namespace);
  const stayed = Object.values(replaced)
    .flat()
    .filter((uid) => [...registry, ...Object.values(others).flat()].includes(uid));
  assert.deepEqual(stayed, []);
});

test("an upgrade migrates first, and then never has less pods than there are to be", limits, async () => {
  const namespace = await Namespace.create(cluster.plane, "rolling");
  await using timeline = await Timeline.of(cluster.plane, namespace);
  succeeded(await namespace.deploy("install", "-f", minimal));
  succeeded(await namespace.deploy("upgrade", "-f", minimal, "--set", "image.tag=0.2.0"));
  const isOver = ({ object }: { object: Job }): boolean => object.status.succeeded === 1;
  const first = await timeline.first<Job>("Job", isOver, "the first migration");
  const isSecond = ({ object }: { object: Job }): boolean =>
    object.status.succeeded === 1 && object.metadata.uid !== first.object.metadata.uid;
  const second = await timeline.first<Job>("Job", isSecond, "the second migration");
  await timeline.nothingMissing();
  for (const service of services) {
    const name = `mesh-legion-${service}`;
    const states = timeline.of<Deployment>("Deployment").filter(({ object }) => object.metadata.name === name);
    const changed = states.findIndex(({ object }) => object.metadata.generation === 2);
    assert.ok(states[changed]!.at > second.at, `the ${service} was changed before`);
    const available = states.slice(changed).map(({ object }) => object.status.availableReplicas ?? 0);
    const wanted = states[changed]!.object.spec.replicas;
    assert.ok(Math.min(...available) >= wanted, `${service}: ${available.join()} of ${wanted}`);
  }
  for (const { spec } of await namespace.list<Pod>("pods")) assert.equal(spec.containers[0]!.image, "legion:0.2.0");
});

test(
  "a failed migration stops the upgrade, and what ran runs on; the next one and a rollback go well",
  limits,
  async () => {
    const namespace = await installed("broken");
    const begun = await podsOf(namespace);
    const sets = (await namespace.list("replicasets")).map(({ metadata }) => metadata.uid).toSorted();

    const settings = ["--set", "image.tag=broken,registry.config.HEARTBEAT_INTERVAL=2s,migrations.backoffLimit=0"];
    const { code, stderr } = await namespace.deploy("upgrade", "-f", minimal, ...settings);
    assert.notEqual(code, 0);
    assert.match(stderr, /UPGRADE FAILED: pre-upgrade hooks failed[^]*mesh-legion-migrate/);
    assert.deepEqual(await podsOf(namespace), begun);
    assert.deepEqual((await namespace.list("replicasets")).map(({ metadata }) => metadata.uid).toSorted(), sets);
    for (const { metadata, spec } of await namespace.list<Deployment>("deployments")) {
      assert.deepEqual([metadata.generation, spec.template.spec.containers[0]!.image], [1, "legion:0.1.0"]);
    }
    const config = await namespace.get<{ data: Record<string, string> } & Deployment>(
      "configmap",
      "mesh-legion-registry",
    );
    assert.equal(config.data["HEARTBEAT_INTERVAL"], "3s");
    assert.equal((await namespace.get<Job>("job", "mesh-legion-migrate")).status.failed, 1);
    assert.deepEqual(
      (await namespace.pods("migrate")).map(({ status }) => status.phase),
      ["Failed"],
    );
    assert.match(succeeded(await namespace.helm("history", "mesh")), /^1\s.*deployed[^]*^2\s.*failed/m);

    succeeded(await namespace.deploy("upgrade", "-f", minimal, "--set", "image.tag=0.2.0"));
    assert.deepEqual(await namespace.list("jobs"), []);
    assert.deepEqual(await namespace.pods("migrate"), []);
    const images = async (): Promise<string[]> => [
      ...new Set((await namespace.list<Pod>("pods")).map(({ spec }) => spec.containers[0]!.image)),
    ];
    assert.deepEqual(await images(), ["legion:0.2.0"]);

    succeeded(await namespace.helm("rollback", "mesh", "1", "--wait", "--timeout=3m"));
    assert.deepEqual(await images(), ["legion:0.1.0"]);
  },
);

test("autoscaling that is switched on takes no pod away, and what it decides is kept", limits, async () => {
  const namespace = await Namespace.create(cluster.plane, "scaling");
  await using timeline = await Timeline.of(cluster.plane, namespace);
  succeeded(await namespace.deploy("install", "-f", minimal));
  const scaled = ["-f", minimal, "--set", "registry.autoscaling.enabled=true"];
  succeeded(await namespace.deploy("upgrade", ...scaled));
  // Nobody but Helm has set the number yet.
  succeeded(await namespace.deploy("upgrade", ...scaled, "--set", "config.LOG_LEVEL=warn"));
  const registry = async (): Promise<Deployment> => namespace.get("deployment", "mesh-legion-registry");
  assert.equal((await registry()).spec.replicas, 3);
  // As the autoscaler does it, for whose figures there is nobody here.
  await namespace.kubectl(["scale", "deployment/mesh-legion-registry", "--replicas=5"]);
  await namespace.kubectl(["rollout", "status", "deployment/mesh-legion-registry", "--timeout=60s"]);
  succeeded(await namespace.deploy("upgrade", ...scaled, "--set", "config.LOG_LEVEL=error"));
  const { metadata, spec } = await registry();
  assert.equal(spec.replicas, 5);

  const isLast = ({ at }: { at: bigint }): boolean => at >= BigInt(metadata.resourceVersion);
  await timeline.first<Deployment>("Deployment", isLast, "the last upgrade");
  const states = timeline
    .of<Deployment>("Deployment")
    .filter(({ object }) => object.metadata.name === "mesh-legion-registry");
  const wanted = states.map(({ object }) => object.spec.replicas);
  assert.deepEqual([...new Set(wanted)], [3, 5]);
});
