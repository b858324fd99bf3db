import { networkInterfaces } from "node:os";
import { isLoopback } from "../admin/address.js";
import { parseEndpoint } from "../zmtp/endpoint.js";

/**
 * Of these endpoints the first that other machines can reach; undefined where there is none. `name` is
 * the option they are of.
 */
export function openEndpoint(name: string, endpoints: readonly string[]): string | undefined {
  return endpoints.find((text) => {
    const endpoint = parseEndpoint(name, text);
    return endpoint.kind === "tcp" && !isLoopback(endpoint.host) && !isInternal(endpoint.host);
  });
}

/** Whether it is the name of a network interface, as ZeroMQ takes them, that is loopback. */
function isInternal(name: string): boolean {
  const addresses = networkInterfaces()[name];
  return addresses?.every(({ internal }) => internal) === true;
}
