import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { portOf } from "../harness/port-of.ts";

/**
 * A TCP proxy that can stop forwarding without a word, as a network does that drops packets: connections stay open, new ones
 * are accepted, nothing passes. What was held back passes when it forwards again.
 */
export class BlackHole implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: { host: string; port: number };
  readonly #sockets = new Set<Socket>();
  #swallows = false;

  /** @param target `host:port` */
  static async start(target: string): Promise<BlackHole> {
    const { hostname: host, port } = new URL(`tcp://${target}`);
    const proxy = new BlackHole({ host, port: Number(port) });
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = createServer((client) => this.#join(client));
  }

  get address(): string {
    return `127.0.0.1:${portOf(this.#server)}`;
  }

  swallow(): void {
    this.#swallows = true;
    for (const socket of this.#sockets) socket.pause();
  }

  forward(): void {
    this.#swallows = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket): void {
    const server = connect(this.#target);
    this.#carry(client, server);
    this.#carry(server, client);
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    if (this.#swallows) from.pause();
    from.setNoDelay();
    from.on("data", (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => {
      if (!this.#swallows) from.resume();
    });
    from.on("end", () => to.end());
    from.on("error", () => {});
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
