import { holdPageAgainst } from "./hold.ts";
import { agents } from "./provocations/agents.ts";

holdPageAgainst(agents);
