const taken: Readonly<Record<string, number>> = { "--port-base": 2, "--json": 1 };

/** Options of the commands may stand before the command, too: `legion --port-base 7500 health`. Puts them behind it. */
export function behindCommand(args: readonly string[]): string[] {
  let start = 0;
  while (start < args.length) {
    const option = args[start] ?? "";
    const words = option.startsWith("--port-base=") ? 1 : taken[option];
    if (words === undefined) break;
    start += words;
  }
  const command = args[start];
  if (start === 0 || command === undefined || command.startsWith("-")) return [...args];
  return [command, ...args.slice(0, start), ...args.slice(start + 1)];
}
