import { metrics } from "@opentelemetry/api";

/** The labels of one measurement: a value for each declared name. */
export type Labels<L extends string> = Readonly<Record<L, string>>;

// Without declared labels none can be passed; with some, all must be.
type LabelArguments<L extends string> = [L] extends [never] ? [] : [labels: Labels<L>];

export interface Counter<L extends string> {
  add(value: number, ...labels: LabelArguments<L>): void;
}

export interface Histogram<L extends string> {
  /** In the unit that the name ends with. */
  record(value: number, ...labels: LabelArguments<L>): void;
}

export interface DurationHistogram<L extends string> {
  /** Milliseconds; published as seconds. */
  recordMs(durationMs: number, ...labels: LabelArguments<L>): void;
}

export interface Metrics {
  /** Published as `legion_<service>_<name>`; the name ends with `_total`. */
  counter<L extends string = never>(name: string, doc: string, labels?: readonly L[]): Counter<L>;
  /** The name ends with its unit, such as `_bytes` or `_tasks`. */
  histogram<L extends string = never>(
    name: string,
    doc: string,
    options: { readonly buckets: readonly number[]; readonly labels?: readonly L[] },
  ): Histogram<L>;
  /** The name ends with `_seconds`. Buckets are in seconds; default `latencyBuckets`. */
  durationHistogram<L extends string = never>(
    name: string,
    doc: string,
    options?: { readonly buckets?: readonly number[]; readonly labels?: readonly L[] },
  ): DurationHistogram<L>;
  /** `observe` is called at each scrape. Disposing it takes the gauge's values out of the scrapes that follow. */
  observableGauge<L extends string = never>(
    name: string,
    doc: string,
    observe: () => number | Iterable<readonly [value: number, labels: Labels<L>]>,
  ): Disposable;
}

/** Seconds: 1 ms, about what a commit takes, to a minute, in steps of 2 to 2.5. */
export const latencyBuckets: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/**
 * Instruments named by Prometheus's conventions. Call it after `startTelemetry`; without one they measure nothing.
 * @param serviceName the middle of every name: `dispatcher` makes `legion_dispatcher_…`.
 */
export function createMetrics(serviceName: string): Metrics {
  const meter = metrics.getMeter("legion");
  const fullName = (name: string, ending: RegExp): string => {
    const full = `legion_${serviceName}_${name}`;
    if (!/^[a-z][a-z0-9_]*$/.test(full) || !ending.test(full)) {
      throw new TypeError(`The metric name ${full} must be snake_case and match ${ending}.`);
    }
    return full;
  };
  const histogram = (name: string, description: string, buckets: readonly number[]) =>
    meter.createHistogram(name, { description, advice: { explicitBucketBoundaries: [...buckets] } });

  return {
    counter(name, description, labels) {
      const counter = meter.createCounter(fullName(name, /_total$/), { description });
      // Shown as 0 from the start, for a rate over a counter that has just appeared misses its first increase.
      if (labels === undefined) counter.add(0);
      return { add: (value, ...[given]) => counter.add(value, given) };
    },
    histogram(name, description, { buckets }) {
      const instrument = histogram(fullName(name, /(?<!_total|_seconds)$/), description, buckets);
      return { record: (value, ...[given]) => instrument.record(value, given) };
    },
    durationHistogram(name, description, { buckets = latencyBuckets } = {}) {
      const instrument = histogram(fullName(name, /_seconds$/), description, buckets);
      return { recordMs: (durationMs, ...[given]) => instrument.record(durationMs / 1_000, given) };
    },
    observableGauge(name, description, observe) {
      const gauge = meter.createObservableGauge(fullName(name, /(?<!_total)$/), { description });
      const callback: Parameters<typeof gauge.addCallback>[0] = (result) => {
        const observed = observe();
        if (typeof observed === "number") result.observe(observed);
        else for (const [value, labels] of observed) result.observe(value, labels);
      };
      gauge.addCallback(callback);
      return { [Symbol.dispose]: () => gauge.removeCallback(callback) };
    },
  };
}

/**
 * Keeps a label's values few: passes `values` and further ones through until `max` distinct ones were seen, and calls
 * the rest "other". For labels that callers choose, such as a namespace or a capability.
 */
export function boundedLabel(values: Iterable<string>, max: number): (value: string) => string {
  const known = new Set(values);
  return (value) => {
    if (known.has(value)) return value;
    if (known.size >= max) return "other";
    known.add(value);
    return value;
  };
}
