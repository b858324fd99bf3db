// The private fields of an object, through the inspector: what the core keeps to itself must come to rest
// too, whatever fields it will have one day.
import { Session } from "node:inspector";

interface Remote {
  objectId?: string;
  value?: unknown;
}
interface Properties {
  privateProperties?: { name: string; value?: Remote }[];
}

const shelf = globalThis as { __inside?: unknown };

/**
 * Calls `visit` with each object that `root` holds, by public and private fields, and the path to it; goes
 * on into those of which it says true.
 */
export function walk(root: object, visit: (path: string, value: object) => boolean): void {
  const session = new Session();
  session.connect();
  const seen = new Set<object>();
  const go = (path: string, value: unknown): void => {
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    if (ArrayBuffer.isView(value)) return;
    seen.add(value);
    if (!visit(path, value)) return;
    if (value instanceof Map || value instanceof Set) {
      for (const entry of value.values()) go(`${path}[]`, entry);
      return;
    }
    for (const [name, field] of Object.entries(value)) go(`${path}.${name}`, field);
    if (Object.getPrototypeOf(value) === Object.prototype || Array.isArray(value)) return;
    for (const [name, field] of privateFields(session, value)) go(`${path}.${name}`, field);
  };
  try {
    go("core", root);
  } finally {
    session.disconnect();
    delete shelf.__inside;
  }
}

function privateFields(session: Session, object: object): [string, unknown][] {
  shelf.__inside = object;
  const { objectId } = post<{ result: Remote }>(session, "Runtime.evaluate", {
    expression: "globalThis.__inside",
  }).result;
  const { privateProperties = [] } = post<Properties>(session, "Runtime.getProperties", {
    objectId,
    ownProperties: true,
  });
  const fields: [string, unknown][] = privateProperties.map(({ name, value }) => {
    if (value?.objectId === undefined) return [name, value?.value];
    post(session, "Runtime.callFunctionOn", {
      objectId: value.objectId,
      functionDeclaration: "function () { globalThis.__inside = this; }",
    });
    return [name, shelf.__inside];
  });
  post(session, "Runtime.releaseObject", { objectId });
  return fields;
}

/** The inspector of this very thread answers at once. */
function post<T>(session: Session, method: string, parameters: object): T {
  let answer: T | undefined;
  session.post(method, parameters, (error, result) => {
    if (error !== null) throw error;
    answer = result as T;
  });
  return answer as T;
}
