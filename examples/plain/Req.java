import java.util.ArrayList;
import java.util.List;
import org.zeromq.ZMQ;

/**
 * A plain client of the service `default`: an unmodified REQ socket, nothing of wasmq.
 *
 * <pre>
 *   javac -cp /usr/share/java/jeromq.jar -d out examples/plain/Req.java   (Debian: libjeromq-java)
 *   java -cp out:/usr/share/java/jeromq.jar Req tcp://127.0.0.1:5559 hello world
 * </pre>
 *
 * Asks for each word in turn and prints each reply on a line. A request that failed is answered with
 * three frames, an empty one, the status name and the reason: told on stderr, exit code 1.
 */
public final class Req {
  private static final int TIMEOUT_MS = 30_000;

  private static List<byte[]> receive(ZMQ.Socket socket) {
    List<byte[]> frames = new ArrayList<>();
    do {
      byte[] frame = socket.recv(0);
      if (frame == null) throw new IllegalStateException("no reply within " + TIMEOUT_MS + " ms");
      frames.add(frame);
    } while (socket.hasReceiveMore());
    return frames;
  }

  public static void main(String[] args) throws Exception {
    if (args.length < 2) {
      System.err.println("usage: Req FRONTEND BODY...");
      System.exit(2);
    }
    ZMQ.Context context = ZMQ.context(1);
    ZMQ.Socket socket = context.socket(ZMQ.REQ);
    socket.setReceiveTimeOut(TIMEOUT_MS);
    socket.setLinger(0);
    socket.connect(args[0]);
    int status = 0;
    for (int i = 1; i < args.length; i++) {
      socket.send(args[i].getBytes("UTF-8"), 0);
      List<byte[]> frames = receive(socket);
      if (frames.size() == 3 && frames.get(0).length == 0) {
        System.err.println(new String(frames.get(1)) + ": " + new String(frames.get(2), "UTF-8"));
        status = 1;
        continue;
      }
      for (int k = 0; k < frames.size(); k++) {
        System.out.write(frames.get(k));
        System.out.write(k + 1 < frames.size() ? ' ' : '\n');
      }
      System.out.flush();
    }
    socket.close();
    context.term();
    System.exit(status);
  }
}
