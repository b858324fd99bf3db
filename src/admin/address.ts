import { isIP } from "node:net";

export interface AdminAddress {
  host: string;
  /** 0 for any. */
  port: number;
}

/**
 * Parses `host:port`, port 0 for any. Only loopback unless there is a token to be shown: whoever reads the port learns the names and
 * the load of every service. Throws RangeError of one line.
 */
export function parseAdminAddress(name: string, text: string, hasToken = false): AdminAddress {
  const wrong = (why: string) =>
    new RangeError(`${name} must be host:port, got ${JSON.stringify(text)}: ${why}`);
  const match =
    typeof text === "string" ? /^(?:\[([^\]]*)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) : null;
  if (match === null) throw wrong("not of that form, as 127.0.0.1:9100");
  const [, six, other, digits] = match;
  if (six !== undefined && isIP(six) !== 6) throw wrong("[ ] must hold an IPv6 address");
  const port = Number(digits);
  if (port > 65_535) throw wrong("the port is above 65535");
  const host = six ?? other;
  if (!hasToken && !isLoopback(host)) {
    throw wrong("only loopback (127.0.0.1, [::1], localhost) is listened on without a token");
  }
  // Whatever the resolver says of the name, loopback is meant.
  return { host: host.toLowerCase() === "localhost" ? "127.0.0.1" : host, port };
}

/** `token` if it is one that cannot be guessed; throws RangeError, without it, otherwise. */
export function parseAdminToken(name: string, token: string): string {
  if (typeof token === "string" && /^[\x21-\x7e]{16,256}$/.test(token)) return token;
  throw new RangeError(`${name} must be 16 to 256 printable characters without spaces`);
}

/** Whether a host, without brackets, is this machine alone. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith("127.");
  return host === "::1" || host.toLowerCase() === "localhost";
}

/** The host in the value of a Host header, without port and brackets. */
export function hostOf(header: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(header)?.[1] ?? header.replace(/:\d+$/, "");
}
