import { holdPageAgainst } from "./hold.ts";
import { traces } from "./provocations/traces.ts";

holdPageAgainst(traces);
