import { maskUrl } from "./mask-secrets.ts";
import { type Common, type Given, Unacceptable, type Variable, variable } from "./variable.ts";

interface StringOptions extends Common<string> {
  /** Never shown, not even in an error. */
  readonly secret?: boolean;
  readonly example?: string;
}

/** Any text. */
export function string<const O extends StringOptions>(options: O): Variable<Given<O, string>> {
  return variable(options, {
    expected: "text",
    example: options.example ?? options.default ?? "text",
    parse: (text) => text,
    ...(options.secret && { show: () => "****" }),
  });
}

/** true or false; 1, yes, on and 0, no, off mean the same. */
export function boolean<const O extends Common<boolean>>(options: O): Variable<Given<O, boolean>> {
  return variable(options, {
    expected: "true or false",
    example: String(options.default ?? true),
    parse(text) {
      if (/^(true|1|yes|on)$/i.test(text)) return true;
      if (/^(false|0|no|off)$/i.test(text)) return false;
      throw new Unacceptable();
    },
  });
}

/** One of a few words. */
export function oneOf<const V extends readonly string[], const O extends Common<V[number]>>(
  values: V,
  options: O,
): Variable<Given<O, V[number]>> {
  return variable(options, {
    expected: `one of ${values.join(", ")}`,
    example: options.default ?? values[0] ?? "",
    parse(text): V[number] {
      if (!values.includes(text)) throw new Unacceptable();
      return text;
    },
  });
}

interface UrlOptions extends Common<string> {
  /** Schemes that are accepted, without colon. Default: http and https. */
  readonly schemes?: readonly string[];
  readonly example?: string;
}

/** A URL, kept as the text it is. Its password is never shown. */
export function url<const O extends UrlOptions>(options: O): Variable<Given<O, string>> {
  const schemes = options.schemes ?? ["http", "https"];
  return variable(options, {
    expected: `a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(" or ")}`,
    example: options.example ?? options.default ?? `${schemes[0]}://localhost`,
    show: maskUrl,
    parse(text) {
      const scheme = URL.parse(text)?.protocol.slice(0, -1);
      if (scheme === undefined || !schemes.includes(scheme) || !text.includes("://")) throw new Unacceptable();
      return text;
    },
  });
}

/** Origins of web pages, separated by commas; `*` means any. */
export function originList<const O extends Common<string>>(options: O): Variable<Given<O, readonly string[]>> {
  return variable(options, {
    expected: "origins such as https://console.example, several separated by commas, or *",
    example: options.default ?? "https://console.example,http://localhost:5173",
    parse: (text) => text.split(",").map((entry) => parseOrigin(entry.trim())),
  });
}

export interface HostPort {
  /** A name or address; an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

/** Several "host:port", separated by commas; an IPv6 address in brackets. Port 0 means any free one, where it is listened on. */
export function hostPortList<const O extends Common<string>>(options: O): Variable<Given<O, readonly HostPort[]>> {
  return variable(options, {
    expected: "host:port, several separated by commas",
    example: options.default ?? "10.0.0.1:7402,10.0.0.2:7402",
    parse: (text) => text.split(",").map((entry) => parseHostPort(entry.trim())),
  });
}

/** As it is written: `host:port`, an IPv6 address in brackets. */
export function hostPortText({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function parseOrigin(text: string): string {
  if (text === "*") return text;
  // As browsers send it: without a path, a default port or capitals.
  const origin = URL.parse(text)?.origin;
  if (origin === undefined || origin === "null" || origin !== text.toLowerCase()) throw new Unacceptable();
  return origin;
}

function parseHostPort(text: string): HostPort {
  const [, bracketed, plain, digits] = /^(?:\[([\da-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65_535) throw new Unacceptable();
  return { host, port };
}
