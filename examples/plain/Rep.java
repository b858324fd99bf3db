import java.io.ByteArrayOutputStream;
import org.zeromq.ZMQ;

/**
 * A plain worker of the service `default`: an unmodified REP socket, nothing of wasmq.
 *
 * <pre>
 *   javac -cp /usr/share/java/jeromq.jar -d out examples/plain/Rep.java   (Debian: libjeromq-java)
 *   java -cp out:/usr/share/java/jeromq.jar Rep tcp://127.0.0.1:5560 NAME [DELAY_MS]
 * </pre>
 *
 * Answers each request with its name and the request, after DELAY_MS; says on stdout what it runs.
 */
public final class Rep {
  public static void main(String[] args) throws Exception {
    if (args.length < 2) {
      System.err.println("usage: Rep BACKEND NAME [DELAY_MS]");
      System.exit(2);
    }
    byte[] prefix = (args[1] + " ").getBytes("UTF-8");
    long delayMs = args.length > 2 ? Long.parseLong(args[2]) : 0;
    ZMQ.Context context = ZMQ.context(1);
    ZMQ.Socket socket = context.socket(ZMQ.REP);
    socket.connect(args[0]);
    while (true) {
      byte[] request = socket.recv(0);
      while (socket.hasReceiveMore()) socket.recv(0);
      System.out.println("running " + new String(request, "UTF-8"));
      Thread.sleep(delayMs);
      ByteArrayOutputStream reply = new ByteArrayOutputStream();
      reply.write(prefix);
      reply.write(request);
      socket.send(reply.toByteArray(), 0);
    }
  }
}
