import { goTools } from "./go-tools.ts";

/** The folder with `prometheus` and `promtool`, without the clouds in which Prometheus can look for its targets. */
export function prometheusTools(): Promise<string> {
  return goTools("prometheus", { tags: "remove_all_sd" });
}
