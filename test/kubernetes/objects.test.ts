import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf, render, valueFiles } from "../helm/helm.ts";
import { Namespace } from "./namespace.ts";
import { limits, useControlPlane } from "./use.ts";

let namespace: Namespace;
useControlPlane(async (plane) => {
  namespace = await Namespace.create(plane, "work");
});

// What the server would store, with every default and every check of admission, and no field that it does not know.
const dryRun = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];

for (const file of valueFiles) {
  test(`${nameOf(file)}: the API server takes every object and warns of nothing`, limits, async () => {
    const yaml = await render("-f", file);
    const { code, stdout, stderr } = await namespace.tryKubectl(dryRun, yaml);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(stdout.trim().split("\n").length, yaml.match(/^kind: /gm)?.length);
  });
}

const broken: [what: string, original: RegExp, replacement: string, said: RegExp][] = [
  [
    "a field that is not known",
    /clusterIP: None/,
    "clusterIp: None",
    /field not declared in schema|unknown field "spec\.clusterIp"/,
  ],
  [
    "a value that cannot be",
    /maxUnavailable: 1$/m,
    "maxUnavailable: 101%",
    /spec\.maxUnavailable: Invalid value: "101%"/,
  ],
  [
    "a selector that does not fit",
    /(app\.kubernetes\.io\/component: )registry\n {2}template/,
    "$1other\n  template",
    /`selector` does not match template/,
  ],
  ["a metric that is none", /averageUtilization: 70/, "averageUtilization: 0", /must be greater than 0/],
  [
    "a pod that may become root",
    /runAsNonRoot: true/,
    "runAsNonRoot: false",
    /violates? PodSecurity "restricted:latest"/,
  ],
];
for (const [what, original, replacement, said] of broken) {
  test(`the API server refuses or warns of ${what}`, limits, async () => {
    const yaml = await render(
      "-f",
      valueFiles.find((file) => nameOf(file) === "production")!,
    );
    assert.match(yaml, original);
    const { stderr } = await namespace.tryKubectl(dryRun, yaml.replace(original, replacement));
    assert.match(stderr, said);
  });
}
