import { holdPageAgainst } from "./hold.ts";
import { oldNode, starting } from "./provocations/starting.ts";

holdPageAgainst(starting, {
  "old-node": oldNode === undefined ? "there is no Node older than 22 in PATH" : undefined,
  "roots-home": process.getuid?.() === 0 ? undefined : "only root has this trouble",
});
