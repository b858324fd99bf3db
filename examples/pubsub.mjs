// Publish and subscribe: prices to those who listen, the last one to who comes later, and a plain PUB
// socket that knows nothing of wasmq.
//
//   node examples/pubsub.mjs                           with a broker of its own
//   node examples/pubsub.mjs tcp://127.0.0.1:5559 tcp://127.0.0.1:5561   through `npx wasmq broker`
import { Broker, Client } from "wasmq";
import { Publisher } from "zeromq";

const ANY = "tcp://127.0.0.1:*";
const [frontend, xsub] = process.argv.slice(2);
const broker =
  frontend === undefined
    ? await Broker.start({ frontend: ANY, backend: ANY, xsub: ANY })
    : undefined;
const brokers = broker?.frontend ?? [frontend];
const market = await Client.connect({ brokers });
const reader = await Client.connect({ brokers });

// All prices, whatever the metal. Leaving the loop ends the subscription.
const prices = reader.subscribe("prices.*");
await prices.ready();
await market.publish("prices.gold", 61.2, { retain: true });
await market.publish("prices.tin", 0.03);
const heardBy = await market.publish("prices.gold", 61.4, { retain: true, confirm: true });
console.log(`heard by ${heardBy}`);
let count = 0;
for await (const { topic, body, sequence, missed } of prices) {
  console.log(`${topic} ${body} (number ${sequence}, ${missed} missed)`);
  if (++count === 3) break;
}

// Who comes later gets the last value of each topic that has one.
for await (const { topic, body, isRetained } of reader.subscribe("prices.>")) {
  console.log(`${topic} ${body} (kept: ${isRetained})`);
  break;
}

// A reader that is too slow loses the oldest, and sees how many.
const slow = reader.subscribe("ticks", { queueMax: 10 });
await slow.ready();
await market.publish("ticks", 0);
await slow.next();
for (let tick = 1; tick <= 1000; tick++) await market.publish("ticks", tick);
await market.publish("ticks", 1001, { confirm: true });
while (slow.stats.dropped < 991) await new Promise(setImmediate);
const { value } = await slow.next();
console.log(`ticks: ${value.missed} missed, ${slow.stats.dropped} dropped`);

// Any PUB socket joins in; what it says is bytes.
const plain = new Publisher();
plain.connect(broker?.xsub[0] ?? xsub ?? "tcp://127.0.0.1:5561");
const weather = reader.subscribe("weather.*", { raw: true });
const told = weather.next();
// A PUB sends nothing before it has heard that somebody listens.
const saying = setInterval(() => plain.send(["weather.bern", "rain"]).catch(() => {}), 20);
const { topic, body } = (await told).value;
clearInterval(saying);
console.log(`${topic} ${Buffer.from(body)}`);

plain.close();
await reader.close();
await market.close();
await broker?.close();
