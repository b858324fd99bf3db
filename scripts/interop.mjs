// npm run test:interop: programs in C, Java and Python against the broker. Installs nothing of the
// system: says what is missing and fails. With --packages it prints the names of Debian's packages
// that are missing, on one line, and does no more. Other arguments go to vitest.
import { lackingTools } from "./interop-tools.mjs";
import { become, prepare, root } from "./prepare.mjs";

const lacking = lackingTools();
const packages = [...new Set(lacking.map((tool) => tool.package))].join(" ");

if (process.argv.includes("--packages")) {
  console.log(packages);
} else if (lacking.length > 0) {
  console.error("npm run test:interop: missing are");
  for (const { what, package: name } of lacking) console.error(`  ${what}  (Debian: ${name})`);
  console.error(`as root: apt-get install ${packages}`);
  process.exitCode = 1;
} else {
  await prepare();
  await become(
    `${root}node_modules/vitest/vitest.mjs`,
    ["run", "--config", "vitest.interop.config.mjs", ...process.argv.slice(2)],
    "npm run test:interop: vitest is not installed",
  );
}
