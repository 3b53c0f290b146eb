import { agents } from "./agents.ts";
import { chart } from "./chart.ts";
import { database } from "./database.ts";
import { failing } from "./failing.ts";
import { reaching } from "./reaching.ts";
import { refused } from "./refused.ts";
import { starting } from "./starting.ts";
import { traces } from "./traces.ts";
import { waiting } from "./waiting.ts";

export const all = {
  ...starting,
  ...database,
  ...reaching,
  ...waiting,
  ...refused,
  ...failing,
  ...agents,
  ...traces,
  ...chart,
};
