import { holdPageAgainst } from "./hold.ts";
import { waiting } from "./provocations/waiting.ts";

holdPageAgainst(waiting);
