import { holdPageAgainst } from "./hold.ts";
import { failing } from "./provocations/failing.ts";

holdPageAgainst(failing);
