// Says how many tests passed and failed, from the report of vitest's json reporter. A test file
// that could not be run counts as one failure.
import { readFileSync } from "node:fs";

const [, , path] = process.argv;
let passed = 0;
let failed = 0;
try {
  const report = JSON.parse(readFileSync(path, "utf8"));
  passed = report.numPassedTests;
  failed = report.numFailedTests;
  for (const { status, assertionResults } of report.testResults) {
    if (status === "failed" && !assertionResults.some((test) => test.status === "failed")) failed++;
  }
} catch (error) {
  console.error(`no report of the tests: ${error.message}`);
  failed = 1;
}
console.log(`${passed} passed, ${failed} failed`);
