/**
 * How a request can end. Names and numbers are gRPC's
 * (https://grpc.io/docs/guides/status-codes/), so that a team's dashboards and retry
 * rules carry over; the numbers are also the wire's.
 */
export const Status = {
  OK: 0,
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  ABORTED: 10,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** The name of a status, for example `"DEADLINE_EXCEEDED"`. */
export type StatusName = keyof typeof Status;

/** The number of a status, as it travels on the wire. */
export type StatusCode = (typeof Status)[StatusName];

const names = new Map<number, StatusName>(
  Object.entries(Status).map(([name, code]) => [code, name as StatusName]),
);

/** The name for a status number; INTERNAL for a number that this version does not know. */
export function statusName(code: number): StatusName {
  return names.get(code) ?? "INTERNAL";
}

/** Whether `code` is a status number that this version knows. */
export function isStatusCode(code: number): code is StatusCode {
  return names.has(code);
}
