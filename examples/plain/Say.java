import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.zeromq.ZMQ;

/**
 * What one types, said by an unmodified PUB or PUSH socket, nothing of wasmq.
 *
 * <pre>
 *   javac -cp /usr/share/java/jeromq.jar -d out examples/plain/Say.java   (Debian: libjeromq-java)
 *   alias say='java -cp out:/usr/share/java/jeromq.jar Say'
 *   printf 'weather.bern\train\n' | say PUB tcp://127.0.0.1:5561
 *   printf 'a task\n' | say PUSH tcp://127.0.0.1:5563
 * </pre>
 *
 * Each line of stdin is a message, with a tab between two frames; a PUB's first frame is the topic.
 * A PUB drops what it says before it is asked for it, a PUSH waits. All that was not dropped is sent
 * when it ends.
 */
public final class Say {
  public static void main(String[] args) throws Exception {
    if (args.length != 2) {
      System.err.println("usage: Say PUB|PUSH ENDPOINT");
      System.exit(2);
    }
    ZMQ.Context context = ZMQ.context(1);
    ZMQ.Socket socket = context.socket(args[0].equals("PUB") ? ZMQ.PUB : ZMQ.PUSH);
    socket.connect(args[1]);
    System.out.println("each line goes to " + args[1]);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      // With a limit, or empty frames at the end would be left out.
      String[] frames = line.split("\t", -1);
      for (int i = 0; i < frames.length; i++) {
        socket.send(frames[i].getBytes("UTF-8"), i + 1 < frames.length ? ZMQ.SNDMORE : 0);
      }
    }
    socket.close();
    context.term();
  }
}
