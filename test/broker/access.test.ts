// What a key may do is asked where a peer joins and at each request; without keys nobody is asked.
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Access, AccessTable, type Denial } from "../../build/base/access.js";
import type { PlainWorker } from "../../build/broker/plain-worker.js";
import { clientHello, reply, request, Stage, workerHello } from "./fake-port.js";

const KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

let stage: Stage;
let denials: Denial[];

beforeEach(() => {
  stage = new Stage();
  denials = [];
});

afterEach(() => stage.close());

/** What `grant` comes to, for the peers of both ports. */
function grant(grant: object): Access {
  const table = new AccessTable({ keys: { [KEY]: { name: "k", ...grant } } }, (denial) =>
    denials.push(denial),
  );
  const access = table.find(KEY) as Access;
  stage.ports.frontend.access = access;
  stage.ports.backend.access = access;
  return access;
}

const told = () => denials.map(({ action, what }) => `${action} ${what}`);

it("takes on a worker for services that its key may serve, all of them", () => {
  grant({ serve: ["echo"] });
  stage.send("backend", "w", workerHello(["echo", "other"]));
  expect(stage.take("backend", "w")).toMatchObject([
    { kind: "ERROR", status: 7, record: 0, reason: "k may not serve other" },
  ]);
  expect(stage.exchange.core.workerCount).toBe(0);
  stage.send("backend", "w", workerHello(["echo"]));
  expect(stage.take("backend", "w")).toMatchObject([{ kind: "WELCOME" }]);
  expect(told()).toEqual(["serve other"]);
});

it("hands on requests to services that the key may call, and says of others why not", () => {
  const access = grant({ serve: ["*"], call: ["echo"] });
  stage.send("backend", "w", workerHello(["echo", "other"]));
  stage.take("backend", "w");
  stage.send("frontend", "c", clientHello());
  stage.take("frontend", "c");
  stage.send("frontend", "c", request(1), request(2, { service: "other" }));
  const taken = stage.take("backend", "w");
  expect(taken).toMatchObject([{ kind: "REQUEST", sequence: "1" }]);
  expect(stage.take("frontend", "c")).toMatchObject([
    { kind: "FAILURE", sequence: "2", status: 7, reason: "k may not call other" },
  ]);
  // From now on it may not, but what it asked before is still answered.
  access.grant({ serve: ["*"] });
  stage.send("frontend", "c", request(3));
  stage.send("backend", "w", reply(taken[0]));
  expect(stage.take("frontend", "c")).toMatchObject([
    { kind: "FAILURE", sequence: "3", status: 7 },
    { kind: "REPLY", sequence: "1" },
  ]);
  expect(told()).toEqual(["call other", "call echo"]);
});

it("asks the same of plain peers, for the service default", () => {
  grant({});
  const plain = [Buffer.alloc(0), Buffer.from("body")];
  stage.receive("frontend", "r", plain);
  const [[, , status, reason]] = stage.takeMessages("frontend", "r");
  expect([status, reason].map(String)).toEqual(["PERMISSION_DENIED", "k may not call default"]);
  expect(stage.exchange.core.clientCount).toBe(0);

  let closed = 0;
  const { access } = stage.ports.backend;
  const worker: PlainWorker = {
    id: 1,
    access,
    isEnded: false,
    send() {},
    close: () => void closed++,
  };
  stage.exchange.plain.onWorker(worker);
  expect([closed, stage.exchange.core.workerCount]).toEqual([1, 0]);
  expect(told()).toEqual(["call default", "serve default"]);

  grant({ call: ["default"], serve: ["default"] });
  const allowed = { ...worker, access: stage.ports.backend.access };
  stage.exchange.plain.onWorker(allowed);
  stage.receive("frontend", "r", plain);
  expect([closed, stage.exchange.core.workerCount, stage.exchange.core.requests.count]) //
    .toEqual([1, 1, 1]);
});
