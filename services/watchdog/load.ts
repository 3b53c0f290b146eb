import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Rings } from "./core/rings.ts";
import { ringCapacity } from "./core/sample-ring.ts";
import type { Subject } from "./core/sample.ts";
import { idBeforeNewest, readAgentSamples, readSamples, type StoredSample } from "./sql/read-samples.ts";
import type { SubjectDirectory } from "./subject-directory.ts";

// About 4 s of reading: 191,000 took 0.7 s.
const maxLoaded = 1_000_000;
const pageSize = 10_000;

/** Passes on the newest million of the stored samples, oldest first, and returns how many there were and the number of the last. */
export async function loadSamples(
  pool: ConnectionPool,
  onSample: (stored: StoredSample) => void,
): Promise<{ readonly loaded: number; readonly lastId: bigint }> {
  let afterId = (await idBeforeNewest(pool, maxLoaded)) ?? 0n;
  for (let loaded = 0; ;) {
    const page = await readSamples(pool, afterId, pageSize);
    for (const stored of page) onSample(stored);
    loaded += page.length;
    const last = page.at(-1);
    afterId = last?.sampleId ?? afterId;
    if (page.length < pageSize) return { loaded, lastId: afterId };
  }
}

/** Reads an agent that is not in memory from the table. Whether it is there now. */
export async function loadAgent(
  pool: ConnectionPool,
  rings: Rings,
  subjects: SubjectDirectory,
  { namespace, agentId }: Pick<Subject, "namespace" | "agentId">,
): Promise<boolean> {
  const samples = await readAgentSamples(pool, namespace, agentId, ringCapacity);
  // Somebody else has read it, or it has executed something, meanwhile.
  if (rings.agent(namespace, agentId) !== undefined) return true;
  for (const { subject, subjectId, ...sample } of samples) {
    subjects.learn(subjectId, subject);
    rings.pushToAgent(subject, { subjectId, ...sample });
  }
  return samples.length > 0;
}
