import type { Clock } from "#libs/clock/clock.ts";
import { formatLog } from "#libs/telemetry/format-log.ts";
import type { LogLevel } from "#libs/telemetry/logger.ts";
import { type ChildLine, isAtLeast } from "./child-line.ts";
import { OutageFilter } from "./outage-filter.ts";

/** Something the supervisor itself has to say. */
export interface Notice {
  /** For programs: `ready`, `process_ended` … */
  readonly event: string;
  /** For people: one line. */
  readonly text: string;
  /** Default info. */
  readonly level?: LogLevel;
  /** The process it is about; such a line is shown with the time, like that process's own. */
  readonly process?: string;
  /** For programs. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface Screen {
  tell(notice: Notice): void;
  /** A line of a child. `telling`: worth a line for a person, although it is no record of a log. */
  showChildLine(process: string, line: ChildLine, telling: boolean): void;
  /** The mesh is going down: from now on only errors of children are shown. */
  expectEnd(): void;
}

export interface HumanScreenOptions {
  readonly colors: boolean;
  /** What children say below this is not shown. Default: below a warning, and while one of them is away its death alone. */
  readonly threshold?: LogLevel | undefined;
  readonly clock?: Clock;
}

/** Lines for a person. */
export function humanScreen(write: (line: string) => void, { colors, threshold, clock }: HumanScreenOptions): Screen {
  const outages = new OutageFilter(clock);
  let ending = false;
  const showRecord = (record: object): void => write(formatLog(JSON.stringify(record), { colors }));
  return {
    tell({ event, text, process, level = "info" }) {
      if (process === undefined) return write(text);
      if (event === "process_ended") outages.began(process);
      if (event === "process_ready") outages.ended(process);
      showRecord({ time: new Date(), level, service: process, msg: text });
    },
    showChildLine(process, { record, level, text }, telling) {
      if (!isAtLeast(level, ending ? "error" : (threshold ?? "warn"))) return;
      if (record === undefined && !telling) return;
      const shown = record ?? { time: new Date(), level, service: process, msg: text };
      if (threshold !== undefined || level === "fatal" || ending) showRecord(shown);
      else outages.pass(process, () => showRecord(shown));
    },
    expectEnd() {
      ending = true;
      outages[Symbol.dispose]();
    },
  };
}

/** Every line a JSON object: our own with an `event`, those of children as they are. Nothing is left out. */
export function jsonScreen(write: (line: string) => void): Screen {
  return {
    tell({ event, text, process, level = "info", fields }) {
      const about = process === undefined ? {} : { process };
      write(JSON.stringify({ time: new Date(), level, service: "legion", event, msg: text, ...about, ...fields }));
    },
    showChildLine(process, { record, level, text }) {
      write(record !== undefined ? text : JSON.stringify({ time: new Date(), level, service: process, msg: text }));
    },
    expectEnd() {},
  };
}
