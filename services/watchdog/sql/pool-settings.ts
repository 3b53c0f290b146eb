/** Every statement finds its rows by an index; guesses about arrays and new tables make Postgres scan instead. */
export const poolSettings = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
} as const;
