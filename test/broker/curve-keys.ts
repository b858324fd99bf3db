// Keys for tests under CURVE, and a broker that knows some of them.
import { curveKeyPair } from "zeromq";
import type { AccessSpec, Grant } from "../../build/base/access.js";
import { Broker, type BrokerOptions, type SecurityEvent } from "../../build/index.js";

export const keyOf = {
  broker: curveKeyPair(),
  client: curveKeyPair(),
  worker: curveKeyPair(),
  both: curveKeyPair(),
  stranger: curveKeyPair(),
};

export type KeyName = keyof typeof keyOf;

/** What Client and Worker take. */
export function curveOf(name: KeyName, server: KeyName = "broker") {
  return { ...keyOf[name], serverKey: keyOf[server].publicKey };
}

/** The same for a plain socket. */
export function socketKeys(name: KeyName, server: KeyName = "broker") {
  const { publicKey, secretKey, serverKey } = curveOf(name, server);
  return { curvePublicKey: publicKey, curveSecretKey: secretKey, curveServerKey: serverKey };
}

/** An access file of these, by name. */
export function accessOf(grants: Partial<Record<KeyName, Grant>>): AccessSpec {
  const keys: Record<string, Grant> = {};
  for (const [name, grant] of Object.entries(grants)) {
    keys[keyOf[name as KeyName].publicKey] = { name, ...grant };
  }
  return { keys };
}

export const usual = {
  client: { call: ["echo", "default"] },
  worker: { serve: ["echo", "default"] },
  both: { call: ["*"], serve: ["*"] },
} satisfies Partial<Record<KeyName, Grant>>;

/** A broker under CURVE, and what it told of refusals. */
export async function startBroker(options: BrokerOptions = {}, access = accessOf(usual)) {
  const events: SecurityEvent[] = [];
  const broker = await Broker.start({
    frontend: "tcp://127.0.0.1:0",
    backend: "tcp://127.0.0.1:0",
    curve: { ...keyOf.broker, access },
    onSecurity: (event) => events.push(event),
    ...options,
  });
  return { broker, events };
}
