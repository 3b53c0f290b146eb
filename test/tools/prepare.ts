import { whyNoBuildah } from "../image/buildah.ts";
import { debian } from "../image/debian.ts";
import { goTools, whyNoGo } from "./go-tools.ts";
import { validator, whyNoPython } from "./manifests.ts";

// What tests build once and keep: from an empty cache it takes minutes, which no single test should wait for.
const parts: [what: string, whyNot: () => string | undefined, build: () => Promise<string>][] = [
  ["Helm and helm-unittest", whyNoGo, () => goTools("helm")],
  ["the schemas of Kubernetes", whyNoPython, validator],
  ["a Debian to build the image on", whyNoBuildah, debian],
];
for (const [what, whyNot, build] of parts) {
  const why = whyNot();
  console.log(why === undefined ? `${what}: ${await build()}` : `${what}: not here, ${why}`);
}
