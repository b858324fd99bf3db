// Push-pull: mails are pushed, a worker sends them, one of them fails until it is a dead letter, and is retried.
// Run it with `node examples/tasks.mjs` after `npm run build`.
import { Broker, Client, Worker } from "wasmq";

const broker = await Broker.start({
  frontend: "tcp://127.0.0.1:0",
  backend: "tcp://127.0.0.1:0",
  tasks: { backoffMsMin: 10, backoffMsMax: 50 },
});
const client = await Client.connect({ brokers: broker.frontend });

// Nobody takes mails yet: the broker keeps them.
for (const to of ["ada", "grace", "nobody"]) {
  const taskId = await client.push("mail.send", { to }, { attempts: 3 });
  console.log(`pushed ${to}: ${taskId.length} digits of id`);
}

let isMailboxThere = false;
const worker = await Worker.start({
  brokers: broker.backend,
  queues: {
    "mail.send": async ({ to }, { attempt }) => {
      if (to === "nobody" && !isMailboxThere) {
        console.log(`attempt ${attempt} for ${to} fails`);
        throw new Error("no such mailbox");
      }
      console.log(`sent to ${to}`);
    },
  },
});

const until = async (isTrue) => {
  while (!(await isTrue())) await new Promise((resolve) => setTimeout(resolve, 5));
};
await until(async () => (await client.deadLetters("mail.send")).length === 1);
const [letter] = await client.deadLetters("mail.send");
console.log(`dead after ${letter.attempts} attempts: ${letter.reason}`);
isMailboxThere = true;
console.log(`retried: ${await client.retryDeadLetters("mail.send")}`);
await until(() => broker.stats.tasks.counts.done === 3);

await client.close();
await worker.drain();
await broker.close();
