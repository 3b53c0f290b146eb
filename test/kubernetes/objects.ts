/** An object as the API server has it, as far as tests look into it. */
export interface KubeObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly generation?: number;
    /** Of everything in one etcd, the later the higher. */
    readonly resourceVersion: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

interface Container {
  readonly image: string;
  readonly env?: readonly { readonly valueFrom?: { readonly secretKeyRef?: Named } }[];
  readonly envFrom?: readonly { readonly configMapRef?: Named; readonly secretRef?: Named }[];
}

interface Named {
  readonly name: string;
}

export interface Pod extends KubeObject {
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly imagePullSecrets?: readonly Named[];
    readonly volumes?: readonly {
      readonly name: string;
      readonly secret?: { readonly secretName: string };
      readonly configMap?: Named;
      readonly projected?: object;
    }[];
  };
  readonly status: {
    readonly podIP?: string;
    readonly phase: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export interface Deployment extends KubeObject {
  readonly spec: { readonly replicas: number; readonly template: { readonly spec: Pod["spec"] } };
  readonly status: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly availableReplicas?: number;
  };
}

export interface Job extends KubeObject {
  readonly status: { readonly succeeded?: number; readonly failed?: number };
}

/** Secrets and ConfigMaps without which a kubelet would not start a pod, as `Kind/name`. */
export function namedBy({ spec }: Pod): string[] {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  const of = (kind: string, named: readonly (Named | undefined)[]): string[] =>
    named.filter((entry) => entry !== undefined).map(({ name }) => `${kind}/${name}`);
  return [
    ...of(
      "Secret",
      containers.flatMap(({ env = [] }) => env.map(({ valueFrom }) => valueFrom?.secretKeyRef)),
    ),
    ...of(
      "Secret",
      containers.flatMap(({ envFrom = [] }) => envFrom.map(({ secretRef }) => secretRef)),
    ),
    ...of(
      "ConfigMap",
      containers.flatMap(({ envFrom = [] }) => envFrom.map(({ configMapRef }) => configMapRef)),
    ),
    ...of("Secret", spec.imagePullSecrets ?? []),
    ...of(
      "Secret",
      (spec.volumes ?? []).map(({ secret }) => secret && { name: secret.secretName }),
    ),
    ...of(
      "ConfigMap",
      (spec.volumes ?? []).map(({ configMap }) => configMap),
    ),
  ];
}
