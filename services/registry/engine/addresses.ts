import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type HostPort, hostPortText } from "#libs/config/env.ts";

/** All addresses of a host name. */
export type Resolve = (host: string) => Promise<string[]>;

/** As this machine resolves names: /etc/hosts, then DNS. */
export const resolveHost: Resolve = async (host) => {
  if (isIP(host) !== 0) return [host];
  return (await lookup(host, { all: true })).map(({ address }) => address);
};

/**
 * Every `host:port`, with IP addresses for names, to which the targets resolve now. A name that cannot be resolved is told
 * to `failed`, and stands for what it stood for before.
 */
export async function resolveAll(
  targets: readonly HostPort[],
  known: Map<HostPort, string[]>,
  resolve: Resolve,
  failed: (host: string, error: unknown) => void,
): Promise<Set<string>> {
  await Promise.all(
    targets.map(async (target) => {
      try {
        known.set(target, await resolve(target.host));
      } catch (error) {
        failed(target.host, error);
      }
    }),
  );
  return new Set(
    targets.flatMap((target) => (known.get(target) ?? []).map((host) => hostPortText({ host, port: target.port }))),
  );
}
