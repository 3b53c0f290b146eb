/** Hot statements are planned once, from indexes: a plan made while a table is new and small would scan it when it is not. */
export const poolSettings = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_mergejoin: "off",
  jit: "off",
};
