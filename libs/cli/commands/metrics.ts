import type { Command } from "commander";
import { GetMetricsResponseSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { renderJson } from "../render-json.ts";
import { print, printJson } from "../terminal.ts";

export function registerMetrics(program: Command): void {
  meshOptions(program.command("metrics").summary("show the mesh's counters"))
    .description("Shows counters since the mesh was first started, and how many tasks wait and run now.")
    .action(async (flags: MeshOptions) => {
      await using mesh = new Mesh(flags);
      const metrics = await mesh.call((client, settings) => client.getMetrics({}, settings));
      const rendered = renderJson(GetMetricsResponseSchema, metrics);
      if (flags.json) {
        printJson(rendered);
        return;
      }
      const rows = Object.entries(rendered).map(([name, value]) => [name, Number(value).toLocaleString("en")] as const);
      const nameWidth = Math.max(...rows.map(([name]) => name.length));
      const valueWidth = Math.max(...rows.map(([, value]) => value.length));
      for (const [name, value] of rows) print(`${name.padEnd(nameWidth)}  ${value.padStart(valueWidth)}`);
    });
}
