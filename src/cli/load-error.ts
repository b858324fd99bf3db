import { spawnSync } from "node:child_process";

const CHECK_MS_MAX = 10_000;

/** Where the module at `href`, or one that it imports, failed to load, as Node tells it; "" for one that is not there. */
export function placeOf(error: unknown, href: string): string {
  if (!(error instanceof Error)) return "";
  const { code, url } = error as NodeJS.ErrnoException & { url?: string };
  if (code === "ERR_MODULE_NOT_FOUND" && url === href) return "";
  return (error instanceof SyntaxError ? syntaxPlace(href) : undefined) ?? error.stack ?? "";
}

/**
 * The file, line and text that do not parse, which a SyntaxError keeps to itself until nothing catches it: in a
 * process of its own. Modules are all parsed before the first one runs, and the first one ends it.
 */
function syntaxPlace(href: string): string | undefined {
  const program = `import "data:text/javascript,process.exit()"; import ${JSON.stringify(href)};`;
  const args = [...process.execArgv, "--input-type=module", "--eval", program];
  const { status, stderr } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    timeout: CHECK_MS_MAX,
  });
  const end = stderr?.search(/^SyntaxError/m) ?? -1;
  return status === 0 || end === -1 ? undefined : stderr.slice(0, end).trim();
}
