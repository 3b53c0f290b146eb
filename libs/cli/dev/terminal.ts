import { type LogLevel, logLevels } from "#libs/telemetry/logger.ts";
import { humanScreen, jsonScreen, type Screen } from "./screen.ts";

export interface Terminal {
  readonly screen: Screen;
  readonly colors: boolean;
  readonly json: boolean;
  /** Resolves when nobody reads us any more, as after `npm start | head -3`. */
  readonly closed: Promise<void>;
}

/**
 * Standard output, for a person or for a program. Colours only on a terminal, and not with NO_COLOR or TERM=dumb. Of what
 * children say, warnings and worse are shown; with LOG_LEVEL, all that they say at that level.
 */
export function openTerminal(output: NodeJS.WriteStream, env: NodeJS.ProcessEnv, json: boolean): Terminal {
  // Whatever else would end the process then, without taking the mesh down.
  output.removeAllListeners("error");
  const closed = new Promise<void>((resolve) => output.on("error", () => resolve()));
  const write = (line: string): void => void output.write(`${line}\n`);
  const colors = !json && output.isTTY && output.hasColors();
  const wanted = logLevels.find((level): level is LogLevel => level === env["LOG_LEVEL"]?.trim());
  const screen = json ? jsonScreen(write) : humanScreen(write, { colors, threshold: wanted });
  return { screen, colors, json, closed };
}
