import org.zeromq.ZFrame;
import org.zeromq.ZMQ;
import org.zeromq.ZMsg;

/**
 * A Majordomo client, MDP/0.1 (rfc.zeromq.org/spec/7): a REQ socket, nothing of wasmq.
 *
 * <pre>
 *   javac -cp /usr/share/java/jeromq.jar -d out examples/majordomo/Mdclient.java   (Debian: libjeromq-java)
 *   java -cp out:/usr/share/java/jeromq.jar Mdclient SERVICE tcp://127.0.0.1:5559 hello world
 * </pre>
 *
 * Asks the service for each word in turn and prints each reply on a line. Where none comes it asks
 * again on a new socket, three times in all: that is how Majordomo clients learn of failures.
 */
public final class Mdclient {
  private static final int TIMEOUT_MS = 30_000;
  private static final int TRIES = 3;

  private static ZMQ.Socket connect(ZMQ.Context context, String broker) {
    ZMQ.Socket socket = context.socket(ZMQ.REQ);
    socket.setReceiveTimeOut(TIMEOUT_MS);
    socket.setLinger(0);
    socket.connect(broker);
    return socket;
  }

  /** | "MDPC01" | service | body .. |, of which the first two are taken off; null where none came. */
  private static ZMsg receive(ZMQ.Socket socket, String service) {
    ZMsg message = ZMsg.recvMsg(socket);
    if (message == null) return null;
    boolean isReply =
        message.size() >= 3
            && message.pop().streq("MDPC01")
            && message.pop().streq(service);
    if (!isReply) throw new IllegalStateException("not a reply of " + service);
    return message;
  }

  public static void main(String[] args) throws Exception {
    if (args.length < 3) {
      System.err.println("usage: Mdclient SERVICE FRONTEND BODY...");
      System.exit(2);
    }
    String service = args[0];
    ZMQ.Context context = ZMQ.context(1);
    ZMQ.Socket socket = connect(context, args[1]);
    int status = 0;
    for (int i = 2; i < args.length; i++) {
      ZMsg reply = null;
      for (int left = TRIES; reply == null && left > 0; left--) {
        ZMsg request = new ZMsg();
        request.add(new ZFrame("MDPC01"));
        request.add(new ZFrame(service));
        request.add(new ZFrame(args[i].getBytes("UTF-8")));
        request.send(socket);
        reply = receive(socket, service);
        if (reply != null) break;
        socket.close();
        socket = connect(context, args[1]);
      }
      if (reply == null) {
        System.err.println("no reply to " + args[i]);
        status = 1;
        continue;
      }
      while (!reply.isEmpty()) {
        System.out.write(reply.pop().getData());
        System.out.write(reply.isEmpty() ? '\n' : ' ');
      }
      System.out.flush();
    }
    socket.close();
    context.term();
    System.exit(status);
  }
}
