# Answers "ok" on the listener in descriptor 3.
require 'socket'
listener = TCPServer.for_fd(3)
loop do
  connection = listener.accept
  connection.readpartial(4096)
  connection.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
  connection.close
end
