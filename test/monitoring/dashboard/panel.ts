/** What a panel shows: expressions in which `$of` stands for what the variables at the top of the dashboard choose. */
export interface Panel {
  readonly title: string;
  /** One of Grafana's names of units. */
  readonly unit: string;
  /** Legend and expression. */
  readonly series: readonly (readonly [legend: string, expression: string])[];
  readonly what: string;
  /** Default timeseries. */
  readonly type?: "stat" | "bars" | "stacked";
  /** Value and colour from which on. */
  readonly thresholds?: readonly (readonly [from: number, color: string])[];
}

const services = "registry|dispatcher|ratelimit|watchdog";

/** A sum of rates by labels. */
export const rate = (by: string, metric: string, more = ""): string =>
  `sum by (${by}) (rate(${metric}{$of${more}}[$__rate_interval]))`;

/** Quantiles of a histogram, over the capabilities that are chosen. */
export const quantiles = (metric: string, more = `, capability=~"$capability"`): Panel["series"] =>
  ["0.5", "0.95", "0.99"].map((quantile) => [
    `p${quantile.slice(2).padEnd(2, "0")}`,
    `histogram_quantile(${quantile}, ${rate("le", `${metric}_bucket`, more)})`,
  ]);

/** The same metric of every service, with the service's name as a label. */
export const ofEach = (metric: string, more = ""): string =>
  `label_replace({__name__=~"legion_(${services})_${metric}", $of${more}}, "service", "$1", "__name__", "legion_(${services})_.+")`;

export const ofLegion = `* on (namespace, job, instance) group_left (service_name) group by (namespace, job, instance, service_name) (target_info{service_name=~"legion-.+"})`;

export const chosen = `, capability=~"$capability"`;

export type Row = readonly [title: string, panels: readonly Panel[]];
