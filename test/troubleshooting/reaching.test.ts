import { holdPageAgainst } from "./hold.ts";
import { reaching } from "./provocations/reaching.ts";

holdPageAgainst(reaching);
