// Who takes part: one line for each kind of client and of worker. A client is started with the
// frontend and bodies, prints the reply to each on a line, and ends with 0. A worker is started with
// the backend, a name and a delay, answers the service `default` with its name, a space and the body,
// and says "running BODY" on stdout when it begins on one.
import { join } from "node:path";
import { findPython, JEROMQ } from "../../scripts/interop-tools.mjs";

const programs = process.env.WASMQ_INTEROP_PROGRAMS ?? "";
const built = (name: string) => join(programs, name);
export const python = findPython() ?? "python3";
const java = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
const javaClass = (name: string) => [...java, "-cp", `${built("java")}:${JEROMQ}`, name];
const node = process.execPath;

/** The command before its arguments. */
export type Kinds = Readonly<Record<string, readonly string[]>>;

export const clients: Kinds = {
  "C REQ": [built("req")],
  "Java REQ": javaClass("Req"),
  "Python REQ": [python, "examples/plain/req.py"],
  "C Majordomo": [built("mdclient"), "default"],
  "Java Majordomo": [...javaClass("Mdclient"), "default"],
  "Python Majordomo": [python, "examples/majordomo/mdclient.py", "default"],
  "Python Majordomo 0.2": [python, "examples/majordomo/mdclient.py", "--v2", "default"],
  "C native": [built("client"), "--raw"],
  "Python native": [python, "examples/python/wasmq_client.py", "--raw"],
  "Node native": [node, "test/interop/node/client.mjs"],
};

export const workers: Kinds = {
  "C REP": [built("rep")],
  "Java REP": javaClass("Rep"),
  "Python REP": [python, "examples/plain/rep.py"],
  "C Majordomo": [built("mdworker"), "default"],
  "Java Majordomo": [...javaClass("Mdworker"), "default"],
  "Python Majordomo": [python, "examples/majordomo/mdworker.py", "default"],
  "Python Majordomo 0.2": [python, "examples/majordomo/mdworker.py", "--v2", "default"],
  "C native": [built("worker"), "--raw"],
  "Python native": [python, "examples/python/wasmq_worker.py", "--raw"],
  "Node native": [node, "test/interop/node/worker.mjs"],
};

/** Native, asking in values: with `--keys FILE` or without, `--service NAME`, and bodies. */
export const sealedClients: Kinds = {
  C: [built("client")],
  Python: [python, "examples/python/wasmq_client.py"],
  Node: [node, "test/interop/node/sealed-client.mjs"],
};

/** Native, answering each value with `{ worker: NAME, echo: value }`. */
export const sealedWorkers: Kinds = {
  C: [built("worker")],
  Python: [python, "examples/python/wasmq_worker.py"],
  Node: [node, "test/interop/node/sealed-worker.mjs"],
};

/** A PUB or a PUSH: with its type and an endpoint, each line of stdin a message, frames by tabs. */
export const sayers: Kinds = {
  C: [built("say")],
  Java: javaClass("Say"),
  Python: [python, "examples/plain/say.py"],
};

/** A SUB or a PULL: with its type, an endpoint and prefixes; each message a line on stdout, frames by tabs. */
export const hearers: Kinds = {
  C: [built("hear")],
  Java: javaClass("Hear"),
  Python: [python, "examples/plain/hear.py"],
};

/** What runs the vectors of test/vectors on the library of an example. */
export const vectorRunners: Kinds = {
  C: [built("vectors")],
  Python: [python, "test/interop/vectors/vectors.py"],
};

export const gateway = [built("gateway")];
