// npm run simulate: the core between modelled clients, workers, network and clock. The simulation is
// TypeScript among the tests; Vite, which runs those, runs it too.
import { prepare, root } from "./prepare.mjs";

await prepare();
const { createViteServer } = await import("vitest/node");
const server = await createViteServer({
  root,
  configFile: false,
  logLevel: "error",
  appType: "custom",
  server: { middlewareMode: true, watch: null, ws: false },
  optimizeDeps: { noDiscovery: true },
});
try {
  const { main } = await server.ssrLoadModule("/test/simulation/main.ts");
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`simulate: ${error.message}`);
  process.exitCode = 2;
} finally {
  await server.close();
}
