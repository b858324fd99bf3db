import type { OptionNames } from "../base/check.js";
import type { BrokerOptions } from "./broker.js";

export const brokerOptionNames: OptionNames<BrokerOptions> = {
  frontend: true,
  backend: true,
  xsub: true,
  xpub: true,
  limits: true,
  services: true,
  heartbeatIntervalMs: true,
  heartbeatTimeoutMs: true,
  handshakeTimeoutMs: true,
  mdpHeartbeatMs: true,
  mdpLiveness: true,
  mdpBusyLiveness: true,
  connectionsMax: true,
  push: true,
  pull: true,
  tasks: true,
  curve: true,
  onSecurity: true,
  insecure: true,
  onWarning: true,
  admin: true,
  adminToken: true,
};
