import java.io.ByteArrayOutputStream;
import org.zeromq.ZFrame;
import org.zeromq.ZMQ;
import org.zeromq.ZMsg;

/**
 * A Majordomo worker, MDP/0.1 (rfc.zeromq.org/spec/7): a DEALER socket, nothing of wasmq.
 *
 * <pre>
 *   javac -cp /usr/share/java/jeromq.jar -d out examples/majordomo/Mdworker.java   (Debian: libjeromq-java)
 *   java -cp out:/usr/share/java/jeromq.jar Mdworker SERVICE tcp://127.0.0.1:5560 NAME [DELAY_MS]
 * </pre>
 *
 * Answers each request with its name and the request, after DELAY_MS; says on stdout what it runs.
 * Sends heartbeats between requests. When it is told to, or the broker is silent for three of them,
 * it begins anew on a new socket.
 */
public final class Mdworker {
  private static final int HEARTBEAT_MS = 2500;
  private static final int LIVENESS = 3;
  private static final byte READY = 1;
  private static final byte REQUEST = 2;
  private static final byte REPLY = 3;
  private static final byte HEARTBEAT = 4;
  private static final byte DISCONNECT = 5;

  private final ZMQ.Context context = ZMQ.context(1);
  private final String service;
  private final String broker;
  private ZMQ.Socket socket;
  private int liveness;
  private long heartbeatAtMs;

  private Mdworker(String service, String broker) {
    this.service = service;
    this.broker = broker;
    beginAnew();
  }

  /** | empty | "MDPW01" | command | rest .. | */
  private void send(byte command, ZMsg rest) {
    rest.push(new ZFrame(new byte[] {command}));
    rest.push(new ZFrame("MDPW01"));
    rest.push(new ZFrame(new byte[0]));
    rest.send(socket);
  }

  private void beginAnew() {
    if (socket != null) socket.close();
    socket = context.socket(ZMQ.DEALER);
    socket.setLinger(0);
    socket.setReceiveTimeOut(HEARTBEAT_MS);
    socket.connect(broker);
    ZMsg ready = new ZMsg();
    ready.add(new ZFrame(service));
    send(READY, ready);
    liveness = LIVENESS;
    heartbeatAtMs = System.currentTimeMillis() + HEARTBEAT_MS;
  }

  /** | address | empty | body .. |; the reply takes the address back. */
  private void work(ZMsg request, byte[] prefix, long delayMs) throws Exception {
    ZFrame address = request.pop();
    request.pop();
    byte[] body = request.pop().getData();
    System.out.println("running " + new String(body, "UTF-8"));
    Thread.sleep(delayMs);
    ByteArrayOutputStream answer = new ByteArrayOutputStream();
    answer.write(prefix);
    answer.write(body);
    ZMsg reply = new ZMsg();
    reply.add(address);
    reply.add(new ZFrame(new byte[0]));
    reply.add(new ZFrame(answer.toByteArray()));
    send(REPLY, reply);
  }

  private void run(String name, long delayMs) throws Exception {
    byte[] prefix = (name + " ").getBytes("UTF-8");
    while (true) {
      ZMsg message = ZMsg.recvMsg(socket);
      if (message == null) {
        if (--liveness == 0) {
          Thread.sleep(HEARTBEAT_MS);
          beginAnew();
        }
      } else {
        liveness = LIVENESS;
        message.pop();
        boolean isOurs = message.size() >= 2 && message.pop().streq("MDPW01");
        byte command = isOurs ? message.pop().getData()[0] : 0;
        if (command == REQUEST) work(message, prefix, delayMs);
        else if (command == DISCONNECT) beginAnew();
        else if (command != HEARTBEAT) System.err.println("not understood");
      }
      if (System.currentTimeMillis() >= heartbeatAtMs) {
        send(HEARTBEAT, new ZMsg());
        heartbeatAtMs = System.currentTimeMillis() + HEARTBEAT_MS;
      }
    }
  }

  public static void main(String[] args) throws Exception {
    if (args.length < 3) {
      System.err.println("usage: Mdworker SERVICE BACKEND NAME [DELAY_MS]");
      System.exit(2);
    }
    long delayMs = args.length > 3 ? Long.parseLong(args[3]) : 0;
    new Mdworker(args[0], args[1]).run(args[2], delayMs);
  }
}
