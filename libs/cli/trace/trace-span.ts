/** A span as somebody shows it. */
export interface TraceSpan {
  readonly spanId: string;
  /** Undefined: it has none. */
  readonly parentId: string | undefined;
  readonly name: string;
  readonly service: string;
  /** Microseconds since the epoch. */
  readonly startUs: number;
  readonly durationUs: number;
  /** Whether it is marked as failed. */
  readonly failed: boolean;
  /** Why, if it says so. */
  readonly failure: string;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
}

export interface TraceNode {
  readonly span: TraceSpan;
  readonly children: readonly TraceNode[];
  /** It has a parent that is not among the spans. */
  readonly orphan: boolean;
}

/** The spans below their parents, in the order in which they began; the roots first. Every span is in it once. */
export function traceTree(spans: readonly TraceSpan[]): TraceNode[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const below = Map.groupBy(spans.toSorted(byStart), ({ parentId }) =>
    parentId !== undefined && ids.has(parentId) ? parentId : undefined,
  );
  const nodeOf = (span: TraceSpan): TraceNode => {
    const children = (below.get(span.spanId) ?? []).map(nodeOf);
    return { span, children, orphan: span.parentId !== undefined && !ids.has(span.parentId) };
  };
  return (below.get(undefined) ?? []).map(nodeOf);
}

// Those that begin in the same microsecond: the longer one first, as a rule the cause of the other.
function byStart(one: TraceSpan, other: TraceSpan): number {
  return one.startUs - other.startUs || other.durationUs - one.durationUs;
}
