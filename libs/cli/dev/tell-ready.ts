import { addressTable, readyLine, type TableContent } from "./address-table.ts";
import type { Terminal } from "./terminal.ts";

/** Says where everything is, and that it is ready. */
export function tellReady({ screen, colors, json }: Terminal, content: TableContent): void {
  if (!json) for (const text of addressTable(content, colors)) screen.tell({ event: "address", text });
  const addresses = content.plan.map(({ name, grpcPort, httpPort }) => [
    name,
    { grpc: `127.0.0.1:${grpcPort}`, http: `http://127.0.0.1:${httpPort}` },
  ]);
  screen.tell({
    event: "ready",
    text: readyLine(content),
    fields: {
      addresses: Object.fromEntries(addresses),
      capabilities: content.capabilities,
      traces: content.traces?.endpoint,
    },
  });
}
