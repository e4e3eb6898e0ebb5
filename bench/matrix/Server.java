// Answers "ok" on the listener in descriptor 0, the only one that Java can inherit (System.inheritedChannel).
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

public class Server {
    public static void main(String[] words) throws Exception {
        byte[] answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
            .getBytes(StandardCharsets.US_ASCII);
        ServerSocketChannel listener = (ServerSocketChannel) System.inheritedChannel();
        while (true) {
            try (SocketChannel connection = listener.accept()) {
                connection.read(ByteBuffer.allocate(4096));
                connection.write(ByteBuffer.wrap(answer));
            }
        }
    }
}
