/**
 * Every statement here finds its rows by an index, a few hundred of them. Postgres plans for sizes it does not know (arrays, a
 * table that was empty a moment ago), and its other guesses scan the table.
 */
export const poolSettings = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
} as const;
