#!/usr/bin/env node
// The command line: wasmq --help
import { benchCommand } from "./bench-command.js";
import { brokerCommand } from "./broker-command.js";
import { callCommand } from "./call-command.js";
import { dictionaryCommand } from "./dictionary-command.js";
import { keysCommand } from "./keys-command.js";
import { newCommand, packageVersion, runProgram } from "./program.js";
import { tasksCommand } from "./tasks-command.js";
import { topCommand } from "./top-command.js";
import { workerCommand } from "./worker-command.js";

const program = newCommand("wasmq", "wasmq")
  .description("A request broker on ZeroMQ, its workers and its clients")
  .version(packageVersion(), "--version", "show the version")
  // So that what follows `bench` is the suite's.
  .enablePositionalOptions()
  .helpCommand(false)
  .addCommand(brokerCommand("broker", "wasmq broker"))
  .addCommand(workerCommand("wasmq worker"))
  .addCommand(callCommand("wasmq call"))
  .addCommand(tasksCommand("wasmq tasks"))
  .addCommand(topCommand("wasmq top"))
  .addCommand(keysCommand("wasmq keys"))
  .addCommand(dictionaryCommand("wasmq dictionary"))
  .addCommand(benchCommand("wasmq bench"));

const [, , first = ""] = process.argv;
if (process.argv.length === 2) {
  const names = program.commands.map((command) => command.name());
  process.stderr.write(`wasmq: give a command: ${names.join(", ")}; see wasmq --help\n`);
  process.exitCode = 2;
} else {
  const isCommand = program.commands.some((command) => command.name() === first);
  await runProgram(program, isCommand ? `wasmq ${first}` : "wasmq");
}
