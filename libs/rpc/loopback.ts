import { isIP } from "node:net";

/** Whether a host or a `host:port` is this machine by name or address, an IPv6 address with or without brackets. */
export function isLoopback(address: string): boolean {
  const host = isIP(address) === 6 ? address : address.replace(/:\d*$/, "").replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
