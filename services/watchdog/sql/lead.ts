import { prepared } from "#libs/db/statement.ts";

/** Held by the replica that judges and acts, for as long as its connection lasts. */
export const tryToLead = prepared<{ held: boolean }>("try-to-lead", "select pg_try_advisory_lock(4703) as held");

export const stillThere = prepared("still-there", "select 1");
