import org.zeromq.ZMQ;

/**
 * What an unmodified SUB or PULL socket gets, nothing of wasmq.
 *
 * <pre>
 *   javac -cp /usr/share/java/jeromq.jar -d out examples/plain/Hear.java   (Debian: libjeromq-java)
 *   alias hear='java -cp out:/usr/share/java/jeromq.jar Hear'
 *   hear SUB tcp://127.0.0.1:5562 weather. sports.
 *   hear PULL tcp://127.0.0.1:5564
 * </pre>
 *
 * Each message is a line on stdout, with a tab between two frames. A SUB hears the topics that begin
 * with one of the prefixes.
 */
public final class Hear {
  public static void main(String[] args) throws Exception {
    if (args.length < 2) {
      System.err.println("usage: Hear SUB|PULL ENDPOINT [PREFIX...]");
      System.exit(2);
    }
    ZMQ.Context context = ZMQ.context(1);
    ZMQ.Socket socket = context.socket(args[0].equals("SUB") ? ZMQ.SUB : ZMQ.PULL);
    for (int i = 2; i < args.length; i++) socket.subscribe(args[i].getBytes("UTF-8"));
    socket.connect(args[1]);
    while (true) {
      System.out.write(socket.recv(0));
      System.out.write(socket.hasReceiveMore() ? '\t' : '\n');
      if (!socket.hasReceiveMore()) System.out.flush();
    }
  }
}
