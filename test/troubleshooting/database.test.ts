import { holdPageAgainst } from "./hold.ts";
import { database } from "./provocations/database.ts";

holdPageAgainst(database);
