import type { DescService } from "@bufbuild/protobuf";
import { createContextValues } from "@connectrpc/connect";
import type { ServiceImpl } from "@connectrpc/connect";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { methodPath } from "./codec.ts";
import { connectHandler, streamOnlyOnGrpc } from "./connect-handlers.ts";
import { answerOrigin } from "./cors.ts";
import { guardHandler, handlersOf, peerKey, refuses } from "./handler.ts";
import type { HandlerOptions } from "./handler.ts";
import { isLoopback } from "./loopback.ts";
import { PortTakenError } from "./port-taken.ts";

export interface HttpServerOptions extends HandlerOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Larger messages are refused with RESOURCE_EXHAUSTED. Default 32 MiB. */
  maxReceiveBytes?: number;
  /** Origins of pages whose calls a browser is to let through, such as `https://console.example`, or `*`. Default: none. */
  allowedOrigins?: readonly string[];
  /** What keeps the service from being ready, a line each, for /readyz. Default: nothing. */
  problems?: () => readonly string[];
}

export type RouteHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/**
 * HTTP/1.1 for curl, browsers and probes: Connect and gRPC-Web for the services mounted, /healthz (the process answers),
 * /readyz (it can work) and the routes added. CORS headers for the services alone, and only for origins that are allowed.
 */
export class HttpServer implements AsyncDisposable {
  readonly #options: HttpServerOptions;
  readonly #server = createServer((request, response) => void this.#handle(request, response));
  readonly #routes = new Map<string, RouteHandler>();
  #shutdown: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.route("/healthz", (_request, response) => sendText(response, 200, "ok"));
    this.route("/readyz", (_request, response) => {
      const problems = this.#problems();
      if (problems.length === 0) sendText(response, 200, "ready");
      else sendText(response, 503, problems.join("\n"));
    });
  }

  /**
   * Serves the methods given. Of the others, bidirectional ones answer STREAM_ONLY_ON_GRPC, given or not, and the rest
   * NOT_SUPPORTED.
   */
  mount<S extends DescService>(service: S, impl: Partial<ServiceImpl<S>>): this {
    const { allowedOrigins = [] } = this.#options;
    const readMaxBytes = this.#options.maxReceiveBytes ?? 32 * 1024 * 1024;
    const specs = new Map(handlersOf(service, impl).map((spec) => [spec.method.name, spec]));
    for (const method of service.methods) {
      const message = `${service.typeName}.${method.name} is not offered here.`;
      const spec = specs.get(method.name) ?? refuses(method, "NOT_SUPPORTED", message);
      const handler =
        method.methodKind === "bidi_streaming"
          ? streamOnlyOnGrpc(method)
          : connectHandler(guardHandler(spec, this.#options), readMaxBytes);
      this.route(methodPath(method), async (request, response) => {
        if (this.#isForeign(request)) return sendText(response, 403, foreign(request.headers.host));
        if (!answerOrigin(allowedOrigins, request, response)) await serve(handler, request, response);
      });
    }
    return this;
  }

  /** Serves one exact path, whatever the method; a later route replaces an earlier one. */
  route(path: string, handler: RouteHandler): this {
    this.#routes.set(path, handler);
    return this;
  }

  /**
   * Starts to accept requests.
   * @returns the port
   * @throws PortTakenError
   */
  async listen(): Promise<number> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error: NodeJS.ErrnoException) => {
        reject(error.code === "EADDRINUSE" ? new PortTakenError(host, port) : error);
      });
      this.#server.listen({ host, port }, resolve);
    });
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the HTTP server has no port");
    return address.port;
  }

  /** No new connection is accepted; open requests have `graceMs` (default 10,000) to end, then they are cut. */
  shutdown({ graceMs = 10_000 }: { graceMs?: number } = {}): Promise<void> {
    return (this.#shutdown ??= this.#stop(graceMs));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown({ graceMs: 0 });
  }

  async #stop(graceMs: number): Promise<void> {
    // close() also ends the connections that are idle now; those that finish later are closed at their next response.
    const done = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const timer = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await done;
    clearTimeout(timer);
  }

  /** A browser that was led to believe that a page's own host is this machine (DNS rebinding) still names that host. */
  #isForeign({ headers: { host = "localhost" } }: IncomingMessage): boolean {
    const { host: own, allowedOrigins = [] } = this.#options;
    if (!isLoopback(own) || isLoopback(host)) return false;
    return !allowedOrigins.some((origin) => origin === "*" || URL.parse(origin)?.host === host);
  }

  #problems(): readonly string[] {
    return this.#options.problems?.() ?? [];
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    try {
      const handler = this.#routes.get(path);
      if (handler !== undefined) await handler(request, response);
      else if (request.method === "POST" && this.#problems().length > 0) {
        // It may be a method that is not mounted yet.
        sendText(response, 503, this.#problems().join("\n"));
      } else sendText(response, 404, notFound(path));
    } catch (thrown) {
      // Nobody is left to be told, and a caller that hangs up is no failure of ours.
      if (response.destroyed) return;
      this.#options.log.error("an HTTP request failed unexpectedly", { err: thrown, path });
      if (response.headersSent) response.destroy();
      else sendText(response, 500, "The service failed; its log says why.");
    }
  }
}

async function serve(handler: UniversalHandlerFn, request: IncomingMessage, response: ServerResponse): Promise<void> {
  // HTTP/1.0 may leave the host out, and what follows makes a URL of it.
  const { host } = request.headers;
  if (host === undefined || !URL.canParse(`http://${host}`)) request.headers.host = "localhost";
  const { remoteAddress = "unknown", remotePort = 0 } = request.socket;
  const contextValues = createContextValues().set(peerKey, `${remoteAddress}:${remotePort}`);
  const answer = await handler(universalRequestFromNodeRequest(request, response, undefined, contextValues));
  await universalResponseToNodeResponse(answer, response);
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${text}\n`);
}

function foreign(host = ""): string {
  return `This server is for its own machine, and was called as ${host.slice(0, 200)}: call it by 127.0.0.1 or localhost, or set ALLOWED_ORIGINS.`;
}

function notFound(path: string): string {
  return `Nothing at ${path.slice(0, 200)}. A call is a POST to /<package>.<Service>/<Method> with Content-Type: application/json.`;
}
