import assert from "node:assert/strict";
import { test } from "node:test";
import { whyNoGo } from "../tools/go-tools.ts";
import { chart, helm } from "./helm.ts";

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: what the Helm chart refuses is not tested, for ${skip}`);

const url = "database.url=postgres://u:p@db/legion";

// Settings, and what Helm says to them.
const refusals: [settings: string, said: RegExp][] = [
  ["", /one of database\.url, database\.existingSecret and postgres\.enabled must be set/],
  [`${url},database.existingSecret=x`, /only one of database\.url, database\.existingSecret and postgres\.enabled/],
  ["postgres.enabled=true", /postgres\.password must be set/],
  [`${url},registry.replcas=5`, /'\/registry'.*'replcas' not allowed/s],
  [`${url},dispatcher.config.RETENTOIN=1d`, /'\/dispatcher\/config'.*'RETENTOIN' not allowed/s],
  [`${url},dispatcher.replicas=0`, /'\/dispatcher\/replicas': minimum: got 0, want 1/],
  [`${url},dispatcher.replicas=three`, /'\/dispatcher\/replicas': got string, want integer/],
  [`${url},dispatcher.config.POOL_SIZE=1`, /'\/dispatcher\/config\/POOL_SIZE': minimum: got 1, want 2/],
  [`${url},registry.config.SESSION_LEASE=10`, /'\/registry\/config\/SESSION_LEASE': got number, want string/],
  [`${url},registry.config.SESSION_LEASE=5s`, /SESSION_LEASE \(5s\) must be at least twice HEARTBEAT_INTERVAL \(3s\)/],
  [`${url},config.LOG_LEVEL=loud`, /'\/config\/LOG_LEVEL': value must be one of 'debug', 'info'/],
  [`${url},config.ALLOWED_ORIGINS=console.example`, /'\/config\/ALLOWED_ORIGINS': 'console\.example' does not match/],
  ["database.url=mysql://u:geheim@db", /database\.url must begin with postgres:\/\/ or postgresql:\/\//],
  [`${url},registry.grpcPort=80`, /'\/registry\/grpcPort': minimum: got 80, want 1,?024/],
  [`${url},registry.grpcPort=7411`, /registry\.grpcPort and registry\.httpPort must differ/],
  [`${url},extraEnv[0].name=DATABASE_URL`, /'\/extraEnv\/0\/name': 'not' failed/],
  [`${url},terminationGracePeriodSeconds=9`, /\(9\) must be at least preStopSleepSeconds \+ 5 \(10\)/],
  [`${url},ratelimit.config.ACQUIRE_STATEMENTS=4`, /ACQUIRE_STATEMENTS \(4\) must be less than its POOL_SIZE \(4\)/],
  [`${url},registry.autoscaling.enabled=true,registry.autoscaling.minReplicas=20`, /minReplicas must not be more than/],
  [`${url},grpcRoute.enabled=true`, /grpcRoute\.parentRefs must name a Gateway/],
  [`${url},keda.enabled=true`, /keda\.targets must name a Deployment/],
  [
    `${url},registry.autoscaling.enabled=true,keda.enabled=true,keda.targets[0].deployment=mesh-legion-registry,` +
      "keda.targets[0].tasksPerReplica=1,keda.targets[0].minReplicas=1,keda.targets[0].maxReplicas=2",
    /mesh-legion-registry is scaled by registry\.autoscaling and by keda\.targets: choose one/,
  ],
  [`${url},prometheusRule.alerts.LegionQueueOld.threshold=60`, /'\/prometheusRule\/alerts'.*'LegionQueueOld' not allowed/s],
  [
    `${url},prometheusRule.enabled=true,prometheusRule.alerts.LegionReplicaDown.threshold=1`,
    /prometheusRule\.alerts\.LegionReplicaDown has no threshold/,
  ],
  [`${url},image.digest=latest`, /'\/image\/digest': 'latest' does not match pattern/],
];

for (const [settings, said] of refusals) {
  test(`refused: ${settings || "no database"}`, { skip, timeout: 1_200_000 }, async () => {
    const { code, stderr } = await helm("template", "mesh", chart, ...(settings === "" ? [] : ["--set", settings]));
    assert.notEqual(code, 0);
    assert.match(stderr, said);
    assert.doesNotMatch(stderr, /geheim/, "a password");
  });
}
