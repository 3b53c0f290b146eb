import { dirname } from "node:path";
import { pythonWithTraces } from "../agents/python/environments.ts";
import { whyNoBuildah } from "../image/buildah.ts";
import { debian } from "../image/debian.ts";
import { goTools, whyNoGo } from "./go-tools.ts";
import { kubernetesPrograms } from "./kubernetes.ts";
import { prometheusTools } from "./prometheus.ts";
import { validator, whyNoPython } from "./manifests.ts";

interface Part {
  /** The folders of tests that want it. */
  readonly folders: readonly string[];
  readonly what: string;
  readonly whyNot: () => string | undefined;
  readonly build: () => Promise<string>;
}

// What tests build once and keep: from an empty cache it takes minutes, which no single test should wait for.
const parts: Part[] = [
  {
    folders: ["helm", "kubernetes", "monitoring", "troubleshooting"],
    what: "Helm and helm-unittest",
    whyNot: whyNoGo,
    build: () => goTools("helm"),
  },
  { folders: ["e2e"], what: "grpcurl", whyNot: whyNoGo, build: () => goTools("grpcurl") },
  { folders: ["helm"], what: "the schemas of Kubernetes", whyNot: whyNoPython, build: validator },
  { folders: ["monitoring"], what: "Prometheus and promtool", whyNot: whyNoGo, build: prometheusTools },
  { folders: ["image"], what: "a Debian to build the image on", whyNot: whyNoBuildah, build: debian },
  { folders: ["kubernetes"], what: "a control plane of Kubernetes", whyNot: whyNoGo, build: controlPlane },
  { folders: ["traces"], what: "Jaeger", whyNot: whyNoGo, build: () => goTools("jaeger") },
  { folders: ["traces"], what: "Python with OpenTelemetry", whyNot: whyNoPython, build: pythonWithTraces },
];

// Usage: node test/tools/prepare.ts [folder of test/ …]
const wanted = new Set(process.argv.slice(2));
for (const { folders, what, whyNot, build } of parts) {
  if (!folders.some((folder) => wanted.has(folder))) continue;
  const why = whyNot();
  console.log(why === undefined ? `${what}: ${await build()}` : `${what}: not here, ${why}`);
}

async function controlPlane(): Promise<string> {
  const programs = await kubernetesPrograms((index, name) => {
    const first = index === 0 ? "; all six take a quarter of an hour with two cores" : "";
    console.log(`  Building ${name}, part ${index + 1} of 6 of a control plane${first}.`);
  });
  return dirname(programs.kubectl);
}
