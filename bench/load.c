/* Clients that make a connection for each request, until SIGTERM; then: answered, failed, 99th percentile in µs. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST 4000000
static volatile sig_atomic_t stopping;
static struct sockaddr_in where = {.sin_family = AF_INET};
static unsigned latencies[MOST];
static unsigned long answered, failed;

static void stop(int signal) { (void)signal; stopping = 1; }

static int request(void) {
  static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  char reply[4096];
  size_t got = 0;
  ssize_t n;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  struct timeval patience = {5, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  int good = connect(s, (struct sockaddr *)&where, sizeof where) == 0 && send(s, text, sizeof text - 1, MSG_NOSIGNAL) == sizeof text - 1;
  while (good && got < sizeof reply && (n = recv(s, reply + got, sizeof reply - got, 0)) > 0) got += n;
  close(s);
  return good && got > 15 && memcmp(reply, "HTTP/1.1 200 OK", 15) == 0;
}

static void *client(void *unused) {
  struct timespec a, b;
  while (!stopping) {
    clock_gettime(CLOCK_MONOTONIC, &a);
    int good = request();
    clock_gettime(CLOCK_MONOTONIC, &b);
    if (good) {
      unsigned long i = __atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
      if (i < MOST) latencies[i] = (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000;
    } else {
      __atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
      usleep(2000);
    }
  }
  return unused;
}

static int ascending(const void *a, const void *b) {
  unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  where.sin_port = htons(atoi(argv[1]));
  inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
  signal(SIGTERM, stop);
  int clients = atoi(argv[2]);
  pthread_t threads[64];
  for (int i = 0; i < clients && i < 64; i++) pthread_create(&threads[i], 0, client, 0);
  for (int i = 0; i < clients && i < 64; i++) pthread_join(threads[i], 0);
  unsigned long kept = answered < MOST ? answered : MOST;
  qsort(latencies, kept, sizeof latencies[0], ascending);
  printf("%lu %lu %u\n", answered, failed, kept ? latencies[kept * 99 / 100] : 0);
}
