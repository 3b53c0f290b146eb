import assert from "node:assert/strict";
import type { Finished } from "../harness/run-program.ts";
import { waitFor } from "../harness/wait-for.ts";
import { chart } from "../helm/helm.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { KubeObject, Pod } from "./objects.ts";

// What test/helm/values name, and a release does not bring along.
const secrets: [name: string, key: string][] = [
  ["legion-postgres", "uri"],
  ["tracing", "headers"],
  ["database-ca", "ca.pem"],
  ["images", "any"],
];

/** A namespace that takes only pods of the restricted profile, for a release by the name `mesh`. */
export class Namespace {
  readonly name: string;
  readonly #plane: ControlPlane;

  private constructor(plane: ControlPlane, name: string) {
    this.#plane = plane;
    this.name = name;
  }

  static async create(plane: ControlPlane, name: string): Promise<Namespace> {
    const namespace = new Namespace(plane, name);
    const strict = {
      "pod-security.kubernetes.io/enforce": "restricted",
      "pod-security.kubernetes.io/warn": "restricted",
    };
    const objects = [
      { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: strict } },
      ...secrets.map(([secret, key]) => ({
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: secret, namespace: name },
        stringData: { [key]: "x" },
      })),
    ];
    await namespace.kubectl(["create", "-f", "-"], objects.map((object) => JSON.stringify(object)).join("\n---\n"));
    // Controllers make these.
    const there = ["get", "serviceaccount/default", "configmap/kube-root-ca.crt"];
    await waitFor(async () => (await namespace.tryKubectl(there)).code === 0, {
      describe: `the namespace ${name} to be ready`,
      timeoutMs: 60_000,
    });
    return namespace;
  }

  /** Its standard output. @throws with what it wrote when it fails */
  async kubectl(args: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.tryKubectl(args, input);
    assert.equal(code, 0, `kubectl ${args.join(" ")}\n${stderr}${stdout}`);
    return stdout;
  }

  async tryKubectl(args: readonly string[], input?: string): Promise<Finished> {
    return await this.#plane.kubectl(["-n", this.name, ...args], input);
  }

  /** Objects of these kinds, several separated by commas. */
  async list<T extends KubeObject = KubeObject>(kinds: string, selector = ""): Promise<T[]> {
    const text = await this.kubectl(["get", kinds, "-o", "json", "-l", selector]);
    return (JSON.parse(text) as { items: T[] }).items;
  }

  async get<T extends KubeObject = KubeObject>(kind: string, name: string): Promise<T> {
    return JSON.parse(await this.kubectl(["get", kind, name, "-o", "json"])) as T;
  }

  /** The pods of a service that are not on their way out, by their names. */
  async pods(service: string): Promise<Pod[]> {
    const pods = await this.list<Pod>("pods", `app.kubernetes.io/component=${service}`);
    return pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  }

  /** `helm install` or another command about the chart, that waits for its outcome. */
  async deploy(command: "install" | "upgrade", ...args: readonly string[]): Promise<Finished> {
    return await this.helm(command, "mesh", chart, "--wait", "--timeout=3m", ...args);
  }

  async helm(...args: readonly string[]): Promise<Finished> {
    return await this.#plane.helm("-n", this.name, ...args);
  }

  /** Everything in it, as `kind/name`; without what tells of the past, and what comes and goes with others. */
  async everything(): Promise<string[]> {
    const kinds = (await this.kubectl(["api-resources", "--namespaced", "--verbs=list", "-o", "name"]))
      .trim()
      .split("\n");
    const told = /^(events|endpointslices|podmetrics)\b|^endpoints$/;
    const text = await this.kubectl(["get", kinds.filter((kind) => !told.test(kind)).join(","), "-o", "name"]);
    return text.trim().split("\n").toSorted();
  }
}

/** @throws with what it wrote when it failed */
export function succeeded({ code, stdout, stderr }: Finished): string {
  assert.equal(code, 0, stderr + stdout);
  return stdout;
}
