import { join } from "node:path";
import { goRequired, goTool } from "./go-tools.ts";

const packages = {
  etcd: "go.etcd.io/etcd/server/v3",
  kwok: "sigs.k8s.io/kwok/cmd/kwok",
  kubectl: "k8s.io/kubernetes/cmd/kubectl",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
  "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
  "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
};
export type KubernetesProgram = keyof typeof packages;
export type KubernetesPrograms = Readonly<Record<KubernetesProgram, string>>;

/**
 * A control plane of Kubernetes, by its programs' paths. From an empty cache it takes a quarter of an hour, so each program is
 * a build of its own: a run that is broken off begins the next time where it was.
 * @param progress is told which of them is built now; not of those that are there.
 */
export async function kubernetesPrograms(
  progress: (index: number, name: string) => void = () => {},
): Promise<KubernetesPrograms> {
  const { Version } = await goRequired("kubernetes", "k8s.io/kubernetes");
  const built: Partial<Record<KubernetesProgram, string>> = {};
  const names = Object.keys(packages) as KubernetesProgram[];
  for (const [index, name] of names.entries()) {
    // Unless it is told, a program of Kubernetes takes itself for v0.0.0, and the chart refuses that.
    const variables = `-X k8s.io/component-base/version.gitVersion=${Version}`;
    built[name] = await goTool("kubernetes", name, packages[name], { variables, begins: () => progress(index, name) });
  }
  return built as KubernetesPrograms;
}

/** What kwok's simulated nodes and pods do by themselves. */
export async function kwokStages(): Promise<string[]> {
  return await filesOf("kubernetes", "sigs.k8s.io/kwok", "kustomize/stage", [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
  ]);
}

/** The definitions of those kinds that the chart has objects of and Kubernetes does not know: real ones. */
export async function foreignKinds(): Promise<string[]> {
  const module = "kubernetes-crds";
  const files = await Promise.all([
    filesOf(module, "github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd", [
      "monitoring.coreos.com_prometheusrules.yaml",
      "monitoring.coreos.com_servicemonitors.yaml",
    ]),
    filesOf(module, "github.com/kedacore/keda/v2", "config/crd/bases", ["keda.sh_scaledobjects.yaml"]),
    filesOf(module, "sigs.k8s.io/gateway-api", "config/crd/standard", ["gateway.networking.k8s.io_grpcroutes.yaml"]),
  ]);
  return files.flat();
}

async function filesOf(module: string, path: string, folder: string, names: readonly string[]): Promise<string[]> {
  const { Dir } = await goRequired(module, path);
  return names.map((name) => join(Dir, folder, name));
}
