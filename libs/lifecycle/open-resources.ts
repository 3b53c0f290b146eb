/** What the process still waits for, counted by kind: `{ TCPServerWrap: 1, Timeout: 3 }`. Says what hung a stop. */
export function openResources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
