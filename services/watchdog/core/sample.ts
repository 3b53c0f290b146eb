/** Who executed what. */
export interface Subject {
  readonly namespace: string;
  readonly agentId: string;
  /** Empty: the agent did not say; it has no version to be compared with then. */
  readonly name: string;
  readonly version: string;
  readonly capability: string;
}

export interface Sample {
  readonly subjectId: number;
  readonly durationMs: number;
  /** Since 1970, where it is known. It is not kept in rings. */
  readonly endTimeMs?: number | undefined;
  /** The agent's fault. */
  readonly failed: boolean;
  /** Bytes; 0: unknown. */
  readonly memoryBeforeBytes: number;
  /** Bytes; 0: unknown. */
  readonly memoryAfterBytes: number;
  /** Bytes; 0: unknown. */
  readonly heapAfterCollectionBytes: number;
}
