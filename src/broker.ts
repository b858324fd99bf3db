#!/usr/bin/env node
// The deployable broker: node build/broker.js --help
import { brokerCommand } from "./cli/broker-command.js";
import { runProgram } from "./cli/program.js";

await runProgram(brokerCommand("broker.js", "broker.js"), "broker.js");
