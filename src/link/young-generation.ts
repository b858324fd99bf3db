import { getHeapSpaceStatistics } from "node:v8";

/** How much of the young generation objects may fill before it is collected; some 10 us. */
export function youngGenerationBytes(): number {
  for (const space of getHeapSpaceStatistics()) {
    if (space.space_name === "new_space") return space.space_used_size + space.space_available_size;
  }
  return 0;
}
