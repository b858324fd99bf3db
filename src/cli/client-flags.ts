import type { Command } from "commander";
import { FRONTEND_DEFAULT } from "../broker/broker.js";
import { collect, listFromEnv } from "./program.js";

/** The flag for where a client connects. */
export function withFrontends(command: Command): Command {
  return command.option(
    "--broker <url>",
    `a broker's frontend; may be given several times (env WASMQ_FRONTEND, default ${FRONTEND_DEFAULT})`,
    collect,
  );
}

/** Where it connects: by flag, else environment, else the default. */
export function frontendsFrom(flag: string[] | undefined): string[] {
  return flag ?? listFromEnv(process.env.WASMQ_FRONTEND) ?? [FRONTEND_DEFAULT];
}

/** The flags that `curveKeysFrom` reads, of a client or a worker. */
export function withCurveKeys(command: Command): Command {
  return command
    .option(
      "--curve-key <file>",
      "its own CURVE key pair, of wasmq keys new --curve (env WASMQ_CURVE_KEY)",
    )
    .option(
      "--server-key <key>",
      "the broker's public CURVE key, or the file that has it (env WASMQ_SERVER_KEY)",
    );
}
