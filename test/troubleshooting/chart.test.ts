import { whyNoGo } from "../tools/go-tools.ts";
import { holdPageAgainst } from "./hold.ts";
import { chart } from "./provocations/chart.ts";

const skip = whyNoGo();
holdPageAgainst(chart, { "chart-typo": skip, "chart-database": skip });
