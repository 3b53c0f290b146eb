import assert from "node:assert/strict";
import { freePorts } from "../harness/free-ports.ts";
import type { Manifest } from "../tools/manifests.ts";

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
}

export interface Container {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: readonly Variable[];
  readonly envFrom?: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly readinessProbe?: { readonly httpGet: { readonly path: string; readonly port: string } };
}

export interface PodSpec {
  readonly containers: readonly [Container];
  readonly initContainers?: readonly Container[];
  readonly terminationGracePeriodSeconds?: number;
}

/** One pod of a Deployment, with the ports of this machine that stand for its own. */
export interface Pod {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
  /** By the number that the manifest has. */
  readonly ports: ReadonlyMap<number, number>;
}

interface DeploymentSpec {
  readonly replicas: number;
  readonly template: { readonly metadata: { readonly labels: Readonly<Record<string, string>> }; readonly spec: PodSpec };
}

interface ServiceSpec {
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly { readonly port: number; readonly targetPort: string }[];
}

/** What a cluster makes of rendered manifests, as far as processes of one machine can stand for it. */
export class Release {
  readonly pods: Pod[] = [];
  readonly #objects: readonly Manifest[];

  private constructor(objects: readonly Manifest[]) {
    this.#objects = objects;
  }

  static async of(objects: readonly Manifest[]): Promise<Release> {
    const release = new Release(objects);
    for (const { metadata, spec } of objects.filter(({ kind }) => kind === "Deployment")) {
      const { replicas, template } = spec as unknown as DeploymentSpec;
      for (let replica = 0; replica < replicas; replica++) {
        const own = (template.spec.containers[0].ports ?? []).map(({ containerPort }) => containerPort);
        const free = await freePorts(own.length);
        const ports = new Map(own.map((port, index) => [port, free[index]!]));
        const name = `${metadata.name}-${replica}`;
        release.pods.push({ name, labels: template.metadata.labels, spec: template.spec, ports });
      }
    }
    return release;
  }

  object(kind: string, name: string): Manifest {
    const found = this.#objects.find((object) => object.kind === kind && object.metadata.name === name);
    assert.ok(found, `the manifests name a ${kind} ${name}, and have none`);
    return found;
  }

  /** A container's environment: literally what the manifests say, with ports and names of this machine. */
  environment({ env = [], envFrom = [] }: Container, pod?: Pod): Record<string, string> {
    const variables: Record<string, string> = {};
    for (const { configMapRef } of envFrom) Object.assign(variables, this.object("ConfigMap", configMapRef.name).data);
    for (const { name, value, valueFrom } of env) variables[name] = value ?? this.#secret(valueFrom!.secretKeyRef);
    for (const name of ["GRPC_PORT", "HTTP_PORT"]) {
      if (pod === undefined || variables[name] === undefined) continue;
      const port = pod.ports.get(Number(variables[name]));
      assert.ok(port, `${pod.name}: ${name}=${variables[name]} is no port of its container`);
      variables[name] = String(port);
    }
    for (const [name, value] of Object.entries(variables)) {
      if (!/^LEGION_[A-Z]+$/.test(name)) continue;
      const addresses = this.#addressesOf(value);
      // These two take one address, that of a pod their DNS answer begins with.
      const one = pod !== undefined && (name === "LEGION_RATELIMIT" || name === "LEGION_WATCHDOG");
      variables[name] = one ? addresses[this.pods.indexOf(pod) % addresses.length]! : addresses.join(",");
    }
    if (variables["BIND_HOST"] !== undefined) variables["BIND_HOST"] = "127.0.0.1";
    return variables;
  }

  /** The port of this machine that a pod's probe goes to, and its path. */
  readiness({ spec, ports }: Pod): { port: number; path: string } {
    const [{ readinessProbe, ports: named = [] }] = spec.containers;
    const { path, port } = readinessProbe!.httpGet;
    return { path, port: ports.get(named.find(({ name }) => name === port)!.containerPort)! };
  }

  #secret({ name, key }: { name: string; key: string }): string {
    const value = this.object("Secret", name).stringData?.[key];
    assert.ok(value, `the Secret ${name} has no ${key}`);
    return value;
  }

  /** What a headless Service's name stands for: the pods that it selects. */
  #addressesOf(target: string): string[] {
    const [name = "", port = ""] = target.split(":");
    const { selector, ports } = this.object("Service", name).spec as unknown as ServiceSpec;
    const { targetPort } = ports.find((entry) => entry.port === Number(port)) ?? assert.fail(`${name} has no port ${port}`);
    const selected = this.pods.filter(({ labels }) => Object.entries(selector).every(([key, value]) => labels[key] === value));
    assert.ok(selected.length > 0, `the Service ${name} selects no pod`);
    return selected.map((pod) => {
      const own = pod.spec.containers[0].ports!.find((entry) => entry.name === targetPort)!.containerPort;
      // Without a virtual address in between, the port must be the very same.
      assert.equal(own, Number(port));
      return `127.0.0.1:${pod.ports.get(own)}`;
    });
  }
}
