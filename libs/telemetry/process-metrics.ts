import { monitorEventLoopDelay } from "node:perf_hooks";
import { metrics } from "@opentelemetry/api";

const sampleEveryMs = 20;

/** What Prometheus clients everywhere report of a process, under their usual names, and the delay of the event loop. */
export function observeProcess(): Disposable {
  const meter = metrics.getMeter("legion");
  const cpu = meter.createObservableCounter("process_cpu_seconds_total", { description: "CPU time spent, in seconds" });
  cpu.addCallback((result) => {
    const { user, system } = process.cpuUsage();
    result.observe((user + system) / 1e6);
  });

  const memory = meter.createObservableGauge("process_resident_memory_bytes", { description: "Resident memory" });
  memory.addCallback((result) => result.observe(process.memoryUsage.rss()));

  const started = meter.createObservableGauge("process_start_time_seconds", {
    description: "When the process started, in seconds since the epoch",
  });
  started.addCallback((result) => result.observe(performance.timeOrigin / 1_000));

  // A busy event loop is what makes a live process look dead, so it is watched from the first day.
  const delay = monitorEventLoopDelay({ resolution: sampleEveryMs });
  delay.enable();
  const lag = meter.createObservableGauge("nodejs_eventloop_lag_seconds", {
    description: "How late timers fired since the last scrape",
  });
  lag.addCallback((result) => {
    result.observe(late(delay.percentile(50)), { quantile: "0.5" });
    result.observe(late(delay.percentile(99)), { quantile: "0.99" });
    result.observe(late(delay.max), { quantile: "1" });
    delay.reset();
  });
  return { [Symbol.dispose]: () => void delay.disable() };
}

// Node measures from sample to sample, so an idle process would show the sampling interval.
function late(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - sampleEveryMs / 1_000);
}
