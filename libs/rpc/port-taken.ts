/** Another process listens on the port already. */
export class PortTakenError extends Error {
  override readonly name = "PortTakenError";
  readonly host: string;
  readonly port: number;

  constructor(host: string, port: number) {
    super(`Port ${port} on ${host} is taken by another process.`);
    this.host = host;
    this.port = port;
  }
}
