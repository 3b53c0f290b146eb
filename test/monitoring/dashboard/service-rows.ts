import { chosen, ofEach, ofLegion, rate, type Row } from "./panel.ts";

export const serviceRows: readonly Row[] = [
  [
    "Agents",
    [
      {
        title: "Agents",
        unit: "short",
        what: "That have a session, and that were seen and have none.",
        series: [["session: {{session}}", `max by (session) (legion_registry_agents{$of})`]],
      },
      {
        title: "Slots",
        unit: "short",
        type: "stacked",
        what: "Of all sessions.",
        series: [["{{state}}", `sum by (state) (legion_dispatcher_slots{$of})`]],
      },
      {
        title: "Sessions by capability",
        unit: "short",
        what: "That offer it and take work.",
        series: [["{{capability}}", `sum by (capability) (legion_dispatcher_capability_sessions{$of${chosen}})`]],
      },
      {
        title: "Sessions by Registry",
        unit: "short",
        type: "stacked",
        what: "How the streams are spread.",
        series: [["{{instance}} {{state}}", `sum by (instance, state) (legion_registry_sessions{$of})`]],
      },
      {
        title: "Sessions begun and ended",
        unit: "ops",
        what: "Hellos by result; ends by cause.",
        series: [
          ["hello: {{result}}", rate("result", "legion_registry_hellos_total")],
          ["end: {{cause}}", rate("cause", "legion_registry_sessions_ended_total")],
        ],
      },
      {
        title: "Late or wrong outcomes",
        unit: "ops",
        type: "bars",
        what: "Outcomes that were rejected.",
        series: [["{{reason}}", rate("reason", "legion_registry_rejections_total")]],
      },
    ],
  ],
  [
    "Calls and limits",
    [
      {
        title: "Calls",
        unit: "reqps",
        what: "That ended; streams are one call.",
        series: [
          ["{{rpc_service}}", rate("rpc_service", "rpc_server_duration_seconds_count", `, rpc_service=~"legion.+"`)],
        ],
      },
      {
        title: "Calls that failed",
        unit: "reqps",
        type: "bars",
        what: "By method and code.",
        series: [
          [
            "{{rpc_method}} {{rpc_status_code}}",
            rate(
              "rpc_method, rpc_status_code",
              "rpc_server_duration_seconds_count",
              `, rpc_service=~"legion.+", rpc_status_code!="OK"`,
            ),
          ],
        ],
      },
      {
        title: "Call duration, p99",
        unit: "s",
        what: "By method, streams left out.",
        series: [
          [
            "{{rpc_method}}",
            `histogram_quantile(0.99, ${rate("rpc_method, le", "rpc_server_duration_seconds_bucket", `, rpc_service=~"legion.+", rpc_method!~"Connect|Link|SubmitStream|WatchTask|RunTask"`)})`,
          ],
        ],
      },
      {
        title: "Limiter decisions",
        unit: "ops",
        what: "lease: by tokens held here; acquire: RateLimit was asked; refused; uncounted; unreachable: by the limit's policy.",
        series: [["{{by}}", rate("by", "legion_dispatcher_limit_decisions_total")]],
      },
      {
        title: "RateLimit",
        unit: "ops",
        what: "Acquisitions by result, and tokens leased.",
        series: [
          ["{{result}}", rate("result", "legion_ratelimit_acquisitions_total")],
          ["tokens leased", `sum(rate(legion_ratelimit_leased_tokens_total{$of}[$__rate_interval]))`],
        ],
      },
      {
        title: "Limits without RateLimit",
        unit: "short",
        what: "Limits that cannot be asked about, by the policy that holds.",
        series: [["{{policy}}", `max by (policy) (legion_dispatcher_limits_without_arbiter{$of})`]],
      },
    ],
  ],
  [
    "Watchdog",
    [
      {
        title: "Samples",
        unit: "ops",
        what: "Executions that it was told of; those that were dropped it knows nothing of.",
        series: [
          ["{{result}}", rate("result", "legion_watchdog_samples_total")],
          ["dropped", `sum(rate(legion_dispatcher_samples_dropped_total{$of}[$__rate_interval]))`],
        ],
      },
      {
        title: "Verdicts",
        unit: "short",
        type: "bars",
        what: "Incidents by what became of them; canaries that went a stage on.",
        series: [
          ["{{change}}", `sum by (change) (increase(legion_watchdog_incidents_total{$of}[$__rate_interval]))`],
          ["advanced", `sum(increase(legion_watchdog_advanced_versions_total{$of}[$__rate_interval]))`],
        ],
      },
      {
        title: "Decisions about versions",
        unit: "short",
        type: "bars",
        what: "What the Registries did.",
        series: [["{{step}}", `sum by (step) (increase(legion_registry_rollout_steps_total{$of}[$__rate_interval]))`]],
      },
    ],
  ],
  [
    "Database and processes",
    [
      {
        title: "Connections",
        unit: "short",
        what: "In use, and statements that wait for one.",
        series: [
          ["{{service}} {{state}}", `sum by (service, state) (${ofEach("pool_connections", `, state!="idle"`)})`],
        ],
      },
      {
        title: "Outcomes on their way into the database",
        unit: "short",
        what: "Waiting for a commit.",
        series: [["{{instance}}", `legion_dispatcher_outcomes_pending{$of}`]],
      },
      {
        title: "CPU",
        unit: "short",
        what: "Cores.",
        series: [
          ["{{service_name}} {{instance}}", `rate(process_cpu_seconds_total{$of}[$__rate_interval]) ${ofLegion}`],
        ],
      },
      {
        title: "Memory",
        unit: "bytes",
        what: "Resident.",
        series: [["{{service_name}} {{instance}}", `process_resident_memory_bytes{$of} ${ofLegion}`]],
      },
      {
        title: "Event loop lag, p99",
        unit: "s",
        what: "How late timers fire.",
        series: [["{{service_name}} {{instance}}", `nodejs_eventloop_lag_seconds{$of, quantile="0.99"} ${ofLegion}`]],
      },
      {
        title: "Versions",
        unit: "short",
        type: "stacked",
        what: "Processes by service and version: an update on its way shows two.",
        series: [
          [
            "{{service_name}} {{service_version}}",
            `count by (service_name, service_version) (target_info{$of, service_name=~"legion-.+"})`,
          ],
        ],
      },
    ],
  ],
];
