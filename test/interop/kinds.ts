// Who takes part: one line for each kind of client and of worker. A client is started with the
// frontend and bodies, prints the reply to each on a line, and ends with 0. A worker is started with
// the backend, a name and a delay, answers the service `default` with its name, a space and the body,
// and says "running BODY" on stdout when it begins on one.
import { join } from "node:path";
import { findPython, JEROMQ } from "../../scripts/interop-tools.mjs";

const programs = process.env.WASMQ_INTEROP_PROGRAMS ?? "";
const built = (name: string) => join(programs, name);
const python = findPython() ?? "python3";
const java = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
const javaClass = (name: string) => [...java, "-cp", `${built("java")}:${JEROMQ}`, name];
const node = process.execPath;

/** The command before its arguments. */
export type Kinds = Readonly<Record<string, readonly string[]>>;

export const clients: Kinds = {
  "C REQ": [built("req")],
  "Java REQ": javaClass("Req"),
  "Python REQ": [python, "examples/plain/req.py"],
  "Node native": [node, "test/interop/node/client.mjs"],
};

export const workers: Kinds = {
  "C REP": [built("rep")],
  "Java REP": javaClass("Rep"),
  "Python REP": [python, "examples/plain/rep.py"],
  "Node native": [node, "test/interop/node/worker.mjs"],
};
