import { chain } from "./chain.mjs";
import { encryption } from "./encryption.mjs";
import { lz4 } from "./lz4.mjs";
import { messagepack } from "./messagepack.mjs";

/**
 * What a section may use: at most so many values, and the third-party packages that are there.
 * @typedef {object} Kit
 * @property {number} valuesMax
 * @property {Record<string, import("./rivals.mjs").Rival>} rivals
 *
 * One table of the suite. A section is a kind of values, or a part of what is done with them: a row or several. To add some, add to
 * `sections`; nothing else needs to know.
 * @typedef {object} Table
 * @property {string} title
 * @property {string} about what is measured and how, in sentences
 * @property {boolean} hasSizes what is made differs in size, and that is told beside the time
 * @property {Record<string, (kit: Kit) => Promise<import("./measure.mjs").Case>>} sections
 */

/** @type {Record<string, Table>} */
export const TABLES = { messagepack, lz4, encryption, chain };
