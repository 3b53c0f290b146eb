import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { freePorts } from "../harness/free-ports.ts";

/**
 * A TCP proxy that can stop forwarding without a word, as a network does that drops packets: connections stay open, new ones
 * are accepted, nothing passes. What was held back passes when it forwards again.
 */
export class BlackHole implements AsyncDisposable {
  readonly address: string;
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #connections = new Set<Connection>();
  #swallows = false;
  #refuses = false;
  /** Connections that were ended at once. */
  refused = 0;

  /** @param target `host:port` */
  static async start(target: string, { refuses = false }: { refuses?: boolean } = {}): Promise<BlackHole> {
    const [port = 0] = await freePorts(1);
    const proxy = new BlackHole(port, target);
    proxy.#refuses = refuses;
    proxy.#server.listen(port, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  private constructor(port: number, target: string) {
    const { hostname: host, port: targetPort } = new URL(`tcp://${target}`);
    this.#target = { host, port: Number(targetPort) };
    this.address = `127.0.0.1:${port}`;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#join(client));
  }

  /** From now on nothing passes. Returns the clients' ends of the connections there are. */
  swallow(): readonly { readonly isOver: boolean }[] {
    this.#swallows = true;
    return [...this.#connections].map(({ client }) => client);
  }

  /** What was held back passes now, but for the last words of those who have gone meanwhile. Nobody is refused any more. */
  forward(): void {
    this.#swallows = false;
    this.#refuses = false;
    for (const { client, server } of this.#connections) {
      if (client.isOver) server.socket.destroy();
      client.pass(server);
      server.pass(client);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { client, server } of this.#connections) {
      client.socket.destroy();
      server.socket.destroy();
    }
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(socket: Socket): void {
    if (this.#refuses) {
      this.refused++;
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    const client = new End(socket);
    const server = new End(connect({ ...this.#target, allowHalfOpen: true }));
    const connection = { client, server };
    this.#connections.add(connection);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.onChange = () => {
        if (!this.#swallows) from.pass(to);
        if (client.isOver && server.isOver && !this.#swallows) this.#connections.delete(connection);
      };
    }
  }
}

interface Connection {
  readonly client: End;
  readonly server: End;
}

/** One side of a connection, with what it has sent and was not yet passed on. */
class End {
  readonly socket: Socket;
  /** It sends no more. */
  isOver = false;
  onChange: () => void = () => {};
  #held: Buffer[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay();
    socket.on("data", (chunk: Buffer) => {
      this.#held.push(chunk);
      this.onChange();
    });
    socket.on("error", () => {});
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        this.isOver = true;
        this.onChange();
      });
    }
  }

  pass({ socket }: End): void {
    if (socket.destroyed) return;
    for (const chunk of this.#held.splice(0)) socket.write(chunk);
    if (this.isOver) socket.end();
  }
}
