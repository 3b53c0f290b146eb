import assert from "node:assert/strict";
import { test } from "node:test";
import { whyNoGo } from "../tools/go-tools.ts";
import { type Manifest, validateManifests, whyNoPython } from "../tools/manifests.ts";
import { nameOf, render, valueFiles } from "./helm.ts";

const skip = whyNoGo() ?? whyNoPython();

interface Pod {
  readonly automountServiceAccountToken?: boolean;
  readonly hostNetwork?: boolean;
  readonly securityContext?: { readonly runAsNonRoot?: boolean; readonly seccompProfile?: { readonly type: string } };
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Record<string, unknown>[];
}

interface Container {
  readonly name: string;
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  };
}

// The volumes that the restricted profile allows, of those that the chart or its values may use.
const volumes = new Set(["emptyDir", "secret", "configMap", "persistentVolumeClaim"]);

for (const file of valueFiles) {
  test(`${nameOf(file)}: every pod fulfils the restricted profile, writes nowhere and has no token`, { skip, timeout: 1_200_000 }, async () => {
    const { objects } = await validateManifests(await render("-f", file), []);
    const pods = objects.flatMap((object) => podOf(object) ?? []);
    assert.ok(pods.length >= 6, `${pods.length} pods`);
    for (const { name, pod } of pods) assert.deepEqual(problems(pod), [], name);
  });
}

function podOf({ kind, metadata, spec }: Manifest): { name: string; pod: Pod }[] | undefined {
  const inner = (spec?.["template"] as { spec?: Pod } | undefined)?.spec;
  const pod = kind === "Pod" ? (spec as unknown as Pod) : inner;
  return pod === undefined ? undefined : [{ name: `${kind}/${metadata.name}`, pod }];
}

function problems(pod: Pod): string[] {
  const found: string[] = [];
  if (pod.automountServiceAccountToken !== false) found.push("has a token");
  if (pod.hostNetwork) found.push("uses the host's network");
  if (pod.securityContext?.runAsNonRoot !== true) found.push("may run as root");
  if (pod.securityContext?.seccompProfile?.type !== "RuntimeDefault") found.push("has no seccomp profile");
  for (const { name: _, ...source } of pod.volumes ?? []) {
    for (const kind of Object.keys(source)) if (!volumes.has(kind)) found.push(`has a volume ${kind}`);
  }
  for (const { name, securityContext } of [...(pod.initContainers ?? []), ...pod.containers]) {
    if (securityContext?.allowPrivilegeEscalation !== false) found.push(`${name} may gain privileges`);
    if (securityContext?.readOnlyRootFilesystem !== true) found.push(`${name} may write to its root`);
    const { drop = [], add = [] } = securityContext?.capabilities ?? {};
    if (!drop.includes("ALL") || add.length > 0) found.push(`${name} has capabilities`);
  }
  return found;
}
