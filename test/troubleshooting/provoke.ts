import { all } from "./provocations/all.ts";
import { House, Stage } from "./stage.ts";

// Usage: node test/troubleshooting/provoke.ts NAME: shows live what docs/troubleshooting.md says of it
const name = process.argv[2] ?? "";
const provoke = new Map(Object.entries(all)).get(name);
if (provoke === undefined) {
  console.error(`There is no provocation '${name}'; there are ${Object.keys(all).join(", ")}.`);
  process.exit(2);
}
{
  await using house = new House();
  await using stage = new Stage(house, { live: true });
  await provoke(stage);
}
process.exit(0);
