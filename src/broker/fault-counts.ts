/** Messages and records that were not taken, by PROTOCOL 5. All only grow. */
export class FaultCounts {
  alien = 0;
  version = 0;
  malformed = 0;
  unknown = 0;
  stranger = 0;
  role = 0;
  /** Peers given up because they did not read what they were owed. */
  unread = 0;
  /** What a key asked that it may not do (PERMISSION_DENIED). */
  denied = 0;
}
