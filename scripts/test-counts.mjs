// Says how many tests passed and failed, from the reports of vitest's json reporter. A test file
// that could not be run counts as one failure, and so does a report that is not there.
import { readFileSync } from "node:fs";

const [, , ...paths] = process.argv;
let passed = 0;
let failed = 0;
for (const path of paths) {
  try {
    const report = JSON.parse(readFileSync(path, "utf8"));
    passed += report.numPassedTests;
    failed += report.numFailedTests;
    for (const { status, assertionResults } of report.testResults) {
      const isTold = assertionResults.some((test) => test.status === "failed");
      if (status === "failed" && !isTold) failed++;
    }
  } catch (error) {
    console.error(`no report of the tests: ${error.message}`);
    failed++;
  }
}
console.log(`${passed} passed, ${failed} failed`);
