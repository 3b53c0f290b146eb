import { chosen, ofEach, quantiles, rate, type Row } from "./panel.ts";

const red = "red";
const green = "green";

export const taskRows: readonly Row[] = [
  [
    "At a glance",
    [
      {
        title: "Replicas ready",
        unit: "short",
        type: "stat",
        what: "Of each service, those whose /readyz says 200.",
        series: [["{{service}}", `sum by (service) (${ofEach("ready")})`]],
        thresholds: [
          [0, red],
          [1, green],
        ],
      },
      {
        title: "Tasks ended",
        unit: "ops",
        type: "stat",
        what: "Outcomes recorded a second.",
        series: [["", `sum(rate(legion_dispatcher_tasks_ended_total{$of}[$__rate_interval]))`]],
      },
      {
        title: "Failing",
        unit: "percentunit",
        type: "stat",
        what: "Share of FAILED and DEAD among the tasks that ended and were not canceled.",
        series: [
          [
            "",
            `sum(rate(legion_dispatcher_tasks_ended_total{$of, state=~"FAILED|DEAD"}[$__rate_interval])) / sum(rate(legion_dispatcher_tasks_ended_total{$of, state!="CANCELED"}[$__rate_interval]))`,
          ],
        ],
        thresholds: [
          [0, green],
          [0.01, "orange"],
          [0.1, red],
        ],
      },
      {
        title: "Now",
        unit: "short",
        type: "stat",
        what: "Tasks that wait for an agent or are held back by limits, wait for their time, and run.",
        series: [["{{state}}", `max by (state) (legion_dispatcher_tasks{$of, state=~"QUEUED|SCHEDULED|LEASED"})`]],
      },
      {
        title: "Agents with a session",
        unit: "short",
        type: "stat",
        what: "Those of all Registries.",
        series: [["", `max(legion_registry_agents{$of, session="yes"})`]],
      },
      {
        title: "Alerts firing",
        unit: "short",
        type: "stat",
        what: "Of the rules that come with the chart.",
        series: [["", `count(ALERTS{alertname=~"Legion.+", alertstate="firing", severity!="info"}) or vector(0)`]],
        thresholds: [
          [0, green],
          [1, red],
        ],
      },
    ],
  ],
  [
    "Tasks",
    [
      {
        title: "Throughput",
        unit: "ops",
        what: "Accepted, and ended by state.",
        series: [
          ["accepted", `sum(rate(legion_dispatcher_submissions_total{$of, result="accepted"}[$__rate_interval]))`],
          ["{{state}}", rate("state", "legion_dispatcher_tasks_ended_total", chosen)],
        ],
      },
      {
        title: "Time to start",
        unit: "s",
        what: "From submission to lease. Scheduled tasks count from their submission as well.",
        series: quantiles("legion_dispatcher_time_to_start_seconds"),
      },
      {
        title: "End to end",
        unit: "s",
        what: "From submission to recorded outcome, with all waits and retries.",
        series: quantiles("legion_dispatcher_task_seconds"),
      },
      {
        title: "Execution",
        unit: "s",
        what: "From the last attempt's lease to its recorded outcome.",
        series: quantiles("legion_dispatcher_execution_seconds"),
      },
      {
        title: "Queue",
        unit: "short",
        type: "stacked",
        what: "Tasks that wait for an agent.",
        series: [["{{capability}}", `max by (capability) (legion_dispatcher_queue_tasks{$of${chosen}})`]],
      },
      {
        title: "Age of the oldest task in the queue",
        unit: "s",
        what: "How late work is.",
        series: [["{{capability}}", `max by (capability) (legion_dispatcher_queue_oldest_age_seconds{$of${chosen}})`]],
      },
      {
        title: "Held back by limits",
        unit: "short",
        type: "stacked",
        what: "Parked tasks by limit; without a name: no limit was asked yet.",
        series: [["{{limit}}", `max by (limit) (legion_dispatcher_parked_tasks{$of})`]],
      },
      {
        title: "Failures",
        unit: "ops",
        type: "bars",
        what: "Tasks that ended as FAILED, or as DEAD: out of attempts.",
        series: [
          [
            "{{capability}} {{state}}",
            rate("capability, state", "legion_dispatcher_tasks_ended_total", `${chosen}, state=~"FAILED|DEAD"`),
          ],
        ],
      },
      {
        title: "Retries and rescues",
        unit: "ops",
        type: "bars",
        what: "Attempts after which their task waits again: failed, timed_out; lost with its agent; returned, for it never reached one.",
        series: [["{{cause}}", rate("cause", "legion_dispatcher_tasks_requeued_total", chosen)]],
      },
      {
        title: "Refused submissions",
        unit: "ops",
        type: "bars",
        what: "By reason.",
        series: [
          ["{{result}}", rate("result", "legion_dispatcher_submissions_total", `, result!~"accepted|repeated"`)],
        ],
      },
    ],
  ],
];
