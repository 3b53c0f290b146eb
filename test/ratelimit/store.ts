import { fileURLToPath } from "node:url";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { migrate } from "#libs/db/migrate.ts";
import { LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { AcquisitionSchema, type Acquisition } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { LimitSet } from "../../services/ratelimit/core/limit-set.ts";
import { planBatch } from "../../services/ratelimit/core/plan.ts";
import { isRefusal, ruleOf } from "../../services/ratelimit/core/limit-rule.ts";
import { acquire } from "../../services/ratelimit/sql/acquire.ts";
import { readLimits, setLimit } from "../../services/ratelimit/sql/limits.ts";
import { poolSettings } from "../../services/ratelimit/sql/pool-settings.ts";

export const schema = "ratelimit";
const directory = fileURLToPath(new URL("../../services/ratelimit/sql/migrations/", import.meta.url));

export async function migrateRateLimit(connectionString: string): Promise<void> {
  await migrate(connectionString, { schema, directory });
}

export async function openStore(connectionString: string): Promise<ConnectionPool> {
  await migrateRateLimit(connectionString);
  return new ConnectionPool({ connectionString, schema, max: 4, settings: poolSettings });
}

export async function storeLimit(
  pool: ConnectionPool,
  init: MessageInitShape<typeof LimitSchema>,
  nowUs?: bigint,
): Promise<void> {
  const limit = create(LimitSchema, { namespace: "default", ...init });
  const rule = ruleOf(limit);
  if (isRefusal(rule)) throw new Error(rule.refusal);
  await setLimit(pool, limit, rule, nowUs);
}

export async function loadLimits(pool: ConnectionPool): Promise<LimitSet> {
  const { revision, limits } = await readLimits(pool, "");
  return new LimitSet(revision, limits);
}

export function acquisition(init: MessageInitShape<typeof AcquisitionSchema>): Acquisition {
  return create(AcquisitionSchema, init);
}

export async function acquireAt(
  pool: Pick<ConnectionPool, "run">,
  limits: LimitSet,
  acquisitions: Acquisition[],
  nowUs: bigint,
  inOrder = false,
) {
  const plan = planBatch(limits, acquisitions, inOrder ? acquisitions.map(() => 1) : []);
  const decisions = await acquire(pool, limits.revision, plan, nowUs);
  if (decisions === undefined) throw new Error("the limits have changed");
  return decisions.map(({ refusedBy, ...rest }) => ({ refusedBy: plan.buckets[refusedBy - 1], ...rest }));
}
