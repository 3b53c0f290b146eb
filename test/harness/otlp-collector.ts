import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { decodeTraces, type Span } from "./otlp-decoder.ts";
import { portOf } from "./port-of.ts";

export type { Span } from "./otlp-decoder.ts";

export interface OtlpCollector extends AsyncDisposable {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly endpoint: string;
  /** All spans received so far, in the order of their arrival. */
  spans(): Span[];
  /** Resolves with all spans once `predicate` holds for them; fails after `limitMs`, default 10,000. */
  waitFor(predicate: (spans: Span[]) => boolean, limitMs?: number): Promise<Span[]>;
}

/** A collector of traces, OTLP over HTTP with protobuf, on a free port of the loopback. */
export async function startOtlpCollector(): Promise<OtlpCollector> {
  const received: Span[] = [];
  const watchers = new Set<() => void>();

  const accept = async (request: IncomingMessage): Promise<number> => {
    const body = await buffer(request);
    if (request.method !== "POST" || request.url !== "/v1/traces") return 404;
    if (request.headers["content-type"] !== "application/x-protobuf") return 415;
    received.push(...decodeTraces(request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body));
    for (const watcher of watchers) watcher();
    return 200;
  };
  const server = createServer((request, response) => {
    accept(request).then(
      // An empty ExportTraceServiceResponse is an empty message.
      (status) => response.writeHead(status, { "content-type": "application/x-protobuf" }).end(),
      (error: unknown) => response.writeHead(400).end(String(error)),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    endpoint: `http://127.0.0.1:${portOf(server)}`,
    spans: () => [...received],
    waitFor(predicate, limitMs = 10_000) {
      const { promise, resolve, reject } = Promise.withResolvers<Span[]>();
      const look = (): void => {
        if (predicate([...received])) resolve([...received]);
      };
      const timer = setTimeout(() => {
        const names = received
          .slice(-50)
          .map(({ service, name }) => `${service}:${name}`)
          .join(", ");
        reject(
          new Error(
            `The spans waited for did not come within ${limitMs} ms; the last of ${received.length} are: ${names}`,
          ),
        );
      }, limitMs);
      watchers.add(look);
      look();
      return promise.finally(() => {
        clearTimeout(timer);
        watchers.delete(look);
      });
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
