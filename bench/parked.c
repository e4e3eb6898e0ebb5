/* The smallest worker: waits on its listener and writes down when things happen.
 *
 *   parked accept            waits in accept(2) on descriptor 3, answers, closes
 *   parked epoll THREADS     the same in epoll_wait(2), beside sleeping threads
 *   parked never THREADS     never waits on its listener
 *   parked keep CONNECTIONS  accepts, and keeps so many; a byte from a client closes its connection
 *
 * Each line of $BENCH_LOG: GENERATION WHAT NANOSECONDS (CLOCK_MONOTONIC), where
 * WHAT is "exec" (main begins), "waits" (next is the wait) or "term".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int log_fd = -1;
static const char *generation = "0";

/* Called from a signal handler too: nothing but system calls. */
static void note(const char *what)
{
    struct timespec now;
    char line[96], digits[24];
    int length = 0, digit = 0;
    unsigned long long ns;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (log_fd < 0)
        return;
    for (const char *from = generation; *from; from++)
        line[length++] = *from;
    line[length++] = ' ';
    for (; *what; what++)
        line[length++] = *what;
    line[length++] = ' ';
    ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
    do
        digits[digit++] = '0' + ns % 10;
    while (ns /= 10);
    while (digit)
        line[length++] = digits[--digit];
    line[length++] = '\n';
    if (write(log_fd, line, length) < 0)
        _exit(2);
}

static void on_term(int signal)
{
    (void)signal;
    note("term");
    _exit(0);
}

static void *sleeper(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void answer(int client)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
    char request[4096];

    if (client < 0)
        return;
    if (read(client, request, sizeof request) > 0 && write(client, text, sizeof text - 1) < 0)
        perror("write");
    close(client);
}

/* Holds what it accepts, as an idle keep-alive server does. EPOLLEXCLUSIVE: a connection wakes not all of a thousand. */
static void keep(int most)
{
    struct epoll_event listener = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = 3}, event;
    int epoll = epoll_create1(EPOLL_CLOEXEC), held = 0, waits = 1;
    char byte;

    fcntl(3, F_SETFL, fcntl(3, F_GETFL) | O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, 3, &listener);
    note("waits");
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) != 1)
            continue;
        int client = event.data.fd;
        if (client != 3) {
            if (read(client, &byte, 1) >= 0) {
                close(client);
                held--;
            }
        } else if ((client = accept(3, NULL, NULL)) >= 0) {
            event.events = EPOLLIN;
            event.data.fd = client;
            epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
            held++;
        }
        /* Full: the next connection is for another worker. */
        if (waits != (held < most)) {
            waits = held < most;
            epoll_ctl(epoll, waits ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, 3, &listener);
        }
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "accept", *path = getenv("BENCH_LOG");
    int threads = argc > 2 ? atoi(argv[2]) : 0;
    struct sigaction action = {.sa_handler = on_term};
    pthread_attr_t small;
    pthread_t thread;

    if (getenv("HANDOVER_GENERATION"))
        generation = getenv("HANDOVER_GENERATION");
    if (strlen(generation) > 16)
        return 2;
    if (path)
        log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    note("exec");
    sigaction(SIGTERM, &action, NULL);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    if (!strcmp(mode, "keep"))
        keep(threads);
    while (threads-- > 0)
        if (pthread_create(&thread, &small, sleeper, NULL))
            return 2;
    if (!strcmp(mode, "never"))
        sleeper(NULL);
    if (!strcmp(mode, "epoll")) {
        struct epoll_event event = {.events = EPOLLIN};
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        epoll_ctl(epoll, EPOLL_CTL_ADD, 3, &event);
        note("waits");
        for (;;)
            if (epoll_wait(epoll, &event, 1, -1) == 1)
                answer(accept(3, NULL, NULL));
    }
    note("waits");
    for (;;)
        answer(accept(3, NULL, NULL));
}
