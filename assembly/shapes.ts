import { hashOf, isSame, lowBits } from "./strings";

// The sequences of keys that maps had, as a trie: a map's shape is the node that its keys lead to,
// and the host has the keys and a constructor for each node that it met. Every key's bytes are
// verified against the node's. One key is learned a map at most, when a node misses it twice in a
// row or by lot, so that a flood of random keys fills the trie slowly; a full trie is emptied
// before the next message.
//
//   node: | parent u32 | child met last u32 | depth u16 | size u16 | missed u32 |
//         | key's bits u32 | unused 12 B | key as MessagePack has it, 32 B |
//
// Nodes are named by their address, for the host by their index. Node 0 is the root. The host reads
// parent, size (of the key without its head) and key (src/codec/shapes.ts).

const NODE_COUNT_MAX: u32 = 2048;
const NODE_SIZE: usize = 64;
const KEY_AT: usize = 32;
/** A key's head is one byte. */
const KEY_SIZE_MAX: i32 = 31;
const DEPTH_MAX: u32 = 64;
const TABLE_SIZE: u32 = 8192;
/**
 * Places that a key may stand in, from its own on. Whoever sends can choose keys of one place, and
 * each key met would walk past all of them; a table this empty has such a row by intent only.
 */
const PROBE_COUNT_MAX: u32 = 16;

const nodes = memory.data(131_072, 16); // NODE_COUNT_MAX * NODE_SIZE
const table = memory.data(32_768, 16); // TABLE_SIZE u32: nodes by parent and key, open addressing

export const ROOT: usize = nodes;

let nodeCount: u32 = 1;
let lot: u32 = 1;
/** Counts how often the trie was emptied. */
export let epoch: i32 = 0;

export function indexOf(node: usize): u32 {
  return ((node - nodes) / NODE_SIZE) as u32;
}

/** The child that was met last; without one the root, which is no child whatever its key is like. */
export function firstChildOf(node: usize): usize {
  return load<u32>(node, 4);
}

/** Size of a node's key with its head. */
export function encodedSizeOf(node: usize): usize {
  return (load<u16>(node, 10) as usize) + 1;
}

/** Whether the node's key, its head included, stands at `at`; 32 bytes are read. */
export function isKeyOf(node: usize, at: usize): bool {
  const low = i8x16.bitmask(i8x16.eq(v128.load(node, 32), v128.load(at)));
  const high = i8x16.bitmask(i8x16.eq(v128.load(node, 48), v128.load(at, 16)));
  return (~(low | (high << 16)) & load<u32>(node, 16)) == 0;
}

/** Where the last followed key ended. */
export let keyEnd: usize = 0;

/**
 * The child that the key at `at` leads to, when it is not the first one; 0, and the key is
 * considered for the trie, when it is not known.
 */
export function followKey(node: usize, at: usize, end: usize): usize {
  if (at + 1 >= end) return 0;
  const head = load<u8>(at) as i32;
  let size = head & 31;
  let body = at + 1;
  if ((head & 0xe0) != 0xa0) {
    if (head != 0xd9) return 0;
    size = load<u8>(at, 1);
    body++;
  }
  if (size > KEY_SIZE_MAX || size > ((end - body) as i32)) return 0;
  const child = childOf(node, body, size);
  if (child == 0) {
    learnChild(node, body, size);
    return 0;
  }
  store<u32>(node, child as u32, 4);
  keyEnd = body + size;
  return child;
}

function childOf(parent: usize, at: usize, size: i32): usize {
  const first = placeOf(parent, at, size);
  for (let probe: u32 = 0; probe < PROBE_COUNT_MAX; probe++) {
    const node = load<u32>(tableAt(first + probe)) as usize;
    if (node == 0 || isNodeOf(node, parent, at, size)) return node;
  }
  return 0;
}

/** Where a new child goes in the table; 0 when all its places are taken. */
function freeAt(parent: usize, at: usize, size: i32): usize {
  const first = placeOf(parent, at, size);
  for (let probe: u32 = 0; probe < PROBE_COUNT_MAX; probe++) {
    const entry = tableAt(first + probe);
    if (load<u32>(entry) == 0) return entry;
  }
  return 0;
}

function tableAt(place: u32): usize {
  return table + (((place & (TABLE_SIZE - 1)) << 2) as usize);
}

function isNodeOf(node: usize, parent: usize, at: usize, size: i32): bool {
  return (
    (load<u32>(node) as usize) == parent &&
    (load<u16>(node, 10) as i32) == size &&
    isSame(node + KEY_AT + 1, at, size)
  );
}

/** Its low bits are the place. */
function placeOf(parent: usize, at: usize, size: i32): u32 {
  return hashOf(at, size) ^ (((parent as u32) >> 6) * 0x9e3779b1);
}

/** Considers a key that childOf() did not find. */
function learnChild(parent: usize, at: usize, size: i32): void {
  const hash = hashOf(at, size);
  lot = lot * 1_664_525 + 1_013_904_223;
  if (load<u32>(parent, 12) != hash && lot >> 29 != 0) {
    store<u32>(parent, hash, 12);
    return;
  }
  const depth = (load<u16>(parent, 8) as u32) + 1;
  if (nodeCount == NODE_COUNT_MAX || depth > DEPTH_MAX) return;
  const free = freeAt(parent, at, size);
  if (free == 0) return;
  const node = nodes + (nodeCount++ as usize) * NODE_SIZE;
  store<u32>(node, parent as u32);
  store<u32>(node, ROOT as u32, 4);
  store<u16>(node, depth as u16, 8);
  store<u16>(node, size as u16, 10);
  store<u32>(node, lowBits(size + 1), 16);
  store<u8>(node, 0xa0 | (size as u8), KEY_AT);
  memory.copy(node + KEY_AT + 1, at, size);
  store<u32>(parent, node as u32, 4);
  store<u32>(free, node as u32);
}

/** Empties the trie if it is full: between two messages, for a tape has nodes in it. */
export function beginShapes(): void {
  if (nodeCount == NODE_COUNT_MAX || load<u32>(ROOT, 4) == 0) forgetShapes();
}

export function forgetShapes(): void {
  memory.fill(nodes, 0, NODE_COUNT_MAX * (NODE_SIZE as u32));
  memory.fill(table, 0, TABLE_SIZE * 4);
  // 0xc1 begins no key, so nothing valid is like the root's.
  store<u32>(ROOT, ROOT as u32, 4);
  store<u32>(ROOT, 1, 16);
  store<u8>(ROOT, 0xc1, KEY_AT);
  nodeCount = 1;
  epoch++;
}

/** Where the nodes stand, for the host. */
export function shapeNodes(): i32 {
  return nodes as i32;
}
/** Nodes that are kept; for tests. */
export function shapeCount(): i32 {
  return nodeCount as i32;
}
