import { STRING_SIZE_MAX, hashOf, isSame } from "./strings";

// The sequences of keys that maps had, as a trie: a map's shape is the node that its keys lead to,
// and the host has the keys and a constructor for each node that it met. Every key's bytes are
// verified against the node's. One key is learned a map at most, when a node misses it twice in a
// row or by lot, so that a flood of random keys fills the trie slowly; a full trie is emptied
// before the next message.
//
//   node: | parent u32 | child learned first u32 | depth u16 | size u16 | missed u32 | key 32 B |
//
// Node 0 is the root. The host reads parent, size and key (src/codec/shapes.ts).

const NODE_COUNT_MAX: u32 = 2048;
const NODE_SIZE: u32 = 48;
const DEPTH_MAX: u32 = 64;
const TABLE_SIZE: u32 = 8192;

const nodes = memory.data(98_304 + 16, 16); // NODE_COUNT_MAX * NODE_SIZE, and slack for isSame
const table = memory.data(16_384, 16); // TABLE_SIZE u16: nodes by parent and key, open addressing

let nodeCount: u32 = 1;
let lot: u32 = 1;
/** Counts how often the trie was emptied. */
export let epoch: i32 = 0;

function isNodeOf(node: u32, parent: u32, at: usize, size: i32): bool {
  const entry = nodes + node * NODE_SIZE;
  return (
    load<u32>(entry) == parent &&
    (load<u16>(entry, 10) as i32) == size &&
    isSame(entry + 16, at, size)
  );
}

/** The node of a further key; 0 when there is none. */
export function childOf(parent: u32, at: usize, size: i32): u32 {
  const first = load<u32>(nodes + parent * NODE_SIZE, 4);
  if (first == 0 || size > STRING_SIZE_MAX) return 0;
  const entry = nodes + first * NODE_SIZE;
  if ((load<u16>(entry, 10) as i32) == size && isSame(entry + 16, at, size)) return first;
  let place = placeOf(parent, at, size);
  let node = load<u16>(table + place * 2) as u32;
  while (node != 0 && !isNodeOf(node, parent, at, size)) {
    place = (place + 1) & (TABLE_SIZE - 1);
    node = load<u16>(table + place * 2) as u32;
  }
  return node;
}

function placeOf(parent: u32, at: usize, size: i32): u32 {
  return (hashOf(at, size) ^ (parent * 0x9e3779b1)) & (TABLE_SIZE - 1);
}

/** Considers a key that childOf() did not find. */
export function learnChild(parent: u32, at: usize, size: i32): void {
  const above = nodes + parent * NODE_SIZE;
  const hash = hashOf(at, size);
  lot = lot * 1_664_525 + 1_013_904_223;
  if (load<u32>(above, 12) != hash && lot >> 29 != 0) {
    store<u32>(above, hash, 12);
    return;
  }
  const depth = (load<u16>(above, 8) as u32) + 1;
  if (nodeCount == NODE_COUNT_MAX || depth > DEPTH_MAX) return;
  const node = nodeCount++;
  const entry = nodes + node * NODE_SIZE;
  store<u32>(entry, parent);
  store<u32>(entry, 0, 4);
  store<u16>(entry, depth as u16, 8);
  store<u16>(entry, size as u16, 10);
  memory.copy(entry + 16, at, size);
  if (load<u32>(above, 4) == 0) store<u32>(above, node, 4);
  let place = placeOf(parent, at, size);
  while (load<u16>(table + place * 2) != 0) place = (place + 1) & (TABLE_SIZE - 1);
  store<u16>(table + place * 2, node as u16);
}

/** Empties the trie if it is full: between two messages, for a tape has nodes in it. */
export function beginShapes(): void {
  if (nodeCount == NODE_COUNT_MAX) forgetShapes();
}

export function forgetShapes(): void {
  memory.fill(nodes, 0, NODE_COUNT_MAX * NODE_SIZE);
  memory.fill(table, 0, TABLE_SIZE * 2);
  nodeCount = 1;
  epoch++;
}

/** Where the nodes stand, for the host. */
export function shapeNodes(): i32 {
  return nodes as i32;
}
export function shapeEpoch(): i32 {
  return epoch;
}
