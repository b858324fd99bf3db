// The part of the WebAssembly API that the codec uses. TypeScript has it only in its "dom" and
// "webworker" libraries, which would let browser names into code that runs in Node.
declare namespace WebAssembly {
  interface Module {
    readonly [Symbol.toStringTag]: string;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  interface Instance {
    readonly exports: Record<string, unknown>;
  }
  const Instance: {
    new (module: Module, imports?: Record<string, Record<string, unknown>>): Instance;
  };
  function compile(bytes: Uint8Array): Promise<Module>;
}
