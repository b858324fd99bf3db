import { compile, literalOf } from "./compile.js";
import { ASCII, FLOAT, INT, KIND_MASK, KNOWN, SIZE_SHIFT } from "./kinds.js";
import type { LinearMemory } from "./linear-memory.js";
import type { Unpacker } from "./unpacker.js";

/** Takes a map's values from the tape and builds the object. */
export type ShapeBuilder = (unpacker: Unpacker) => Record<string, unknown>;

/** Maps of a shape before code is made for it. */
const COMPILED_SIGHTS = 16;
/** Constructors that are kept; all are dropped for the next one, and made again where met often. */
const BUILDER_COUNT_MAX = 512;
/** Of a node of assembly/shapes.ts, in bytes. */
const NODE_SIZE = 64;
const KEY_AT = 33;

// Assigning to these would call a setter (__proto__) or fail where Object.prototype is frozen.
const inheritedNames = new Set(Object.getOwnPropertyNames(Object.prototype));
/** Their sizes: a key of another size needs no hash, which is what looking it up costs. */
let inheritedSizes = 0;
for (const name of inheritedNames) inheritedSizes |= 1 << Math.min(name.length, 31);

/** Sets a property that is the object's own, whatever its name. */
export function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  if ((inheritedSizes >>> Math.min(key.length, 31)) & 1 && inheritedNames.has(key)) {
    const own = { value, writable: true, enumerable: true, configurable: true };
    Object.defineProperty(object, key, own);
  } else {
    object[key] = value;
  }
}

/** The keys that a node of the module's trie stands for, and code that builds such objects. */
export class Shape {
  readonly keys: readonly string[];
  build: ShapeBuilder | undefined = undefined;
  sightCount = 0;

  constructor(keys: readonly string[]) {
    this.keys = keys;
  }
}

/** The shapes of the module's trie, by node. */
export class ShapeTable {
  readonly #memory: LinearMemory;
  #shapes: Shape[] = [];
  #epoch = -1;
  #builderCount = 0;

  constructor(memory: LinearMemory) {
    this.#memory = memory;
  }

  /** After each parse: forgets what the module forgot. */
  follow(epoch: number): void {
    if (epoch === this.#epoch) return;
    // The epoch last: it says that the rest is done.
    this.#shapes = [new Shape([])];
    this.#builderCount = 0;
    this.#epoch = epoch;
  }

  of(node: number): Shape {
    // Nodes are numbered as they are learned, so that the table has few holes, and these fill up.
    if (node < this.#shapes.length) return this.#shapes[node] ?? this.#read(node);
    return this.#read(node);
  }

  #read(node: number): Shape {
    const { exports, view, text } = this.#memory;
    const nodes = exports.shapeNodes();
    const at = nodes + node * NODE_SIZE;
    const parent = this.of((view.getUint32(at, true) - nodes) / NODE_SIZE);
    const size = view.getUint16(at + 10, true);
    const key = text.utf8(at + KEY_AT, at + KEY_AT + size);
    const shape = new Shape([...parent.keys, key]);
    while (this.#shapes.length < node) this.#shapes.push(undefined as never);
    this.#shapes[node] = shape;
    return shape;
  }

  /** Or whoever came first, hostile or not, would keep their code and all others never get any. */
  #dropBuilders(): void {
    this.#builderCount = 0;
    for (const shape of this.#shapes) {
      if (shape === undefined) continue;
      shape.build = undefined;
      shape.sightCount = 0;
    }
  }

  /** Constructors that are kept; for tests. */
  get builderCount(): number {
    return this.#builderCount;
  }

  /** Makes code for a shape that is met often. */
  sighted(shape: Shape): void {
    if (++shape.sightCount !== COMPILED_SIGHTS) return;
    if (this.#builderCount >= BUILDER_COUNT_MAX) this.#dropBuilders();
    this.#builderCount++;
    shape.build = compile<ShapeBuilder>({}, sourceOf(shape.keys));
  }
}

/** Values first, in their order, then one literal; in [brackets] __proto__ is a name like others. */
function sourceOf(keys: readonly string[]): string {
  const properties = keys.map((key, index) => {
    const name = literalOf(key);
    return key === "__proto__" ? `[${name}]: v${index}` : `${name}: v${index}`;
  });
  return `function build(unpacker) {
    const words = unpacker.words, constants = unpacker.constants;
    let at = unpacker.at, head, kind, from;
    ${keys.map((_, index) => takeValue(index)).join("\n")}
    unpacker.at = at;
    return { ${properties.join(", ")} };
  }`;
}

/** As Unpacker.value() does, the frequent kinds without a call. */
function takeValue(index: number): string {
  return `let v${index};
    head = words[at];
    kind = head & ${KIND_MASK};
    if (kind === ${KNOWN}) { v${index} = constants[words[at + 1]]; at += 2; }
    else if (kind === ${INT}) { v${index} = words[at + 1]; at += 2; }
    else if (kind === ${ASCII}) {
      from = words[at + 1] - unpacker.plainAt;
      head = from + (head >>> ${SIZE_SHIFT});
      v${index} = from >= 0 && head <= unpacker.plainSize
        ? unpacker.plain.slice(from, head)
        : unpacker.ascii(words[at + 1], head - from);
      at += 2;
    }
    else if (kind === ${FLOAT}) { v${index} = unpacker.floats[(at + 2) >> 1]; at += 4; }
    else { unpacker.at = at; v${index} = unpacker.value(); at = unpacker.at; }`;
}
