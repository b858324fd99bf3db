/** The queues of the chaos: several, since a broker lists no more than 256 dead letters of each. */
export const QUEUES = ["work.0", "work.1", "work.2", "work.3"];
