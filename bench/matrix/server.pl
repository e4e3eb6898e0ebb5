# Answers "ok" on the listener in descriptor 3.
use strict;
use warnings;
use IO::Socket::INET;
my $listener = IO::Socket::INET->new_from_fd(3, 'r+') or die "descriptor 3: $!";
while (my $connection = $listener->accept) {
    sysread($connection, my $request, 4096);
    syswrite($connection, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
    close($connection);
}
