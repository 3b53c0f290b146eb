import { holdPageAgainst } from "./hold.ts";
import { refused } from "./provocations/refused.ts";

holdPageAgainst(refused);
