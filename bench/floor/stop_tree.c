/* The floor of stopping a tree: a cgroup with a program that has started others; kill, reap and remove it.
 *
 *   stop_tree CGROUP PROGRAM ARG…         starts, waits for a line, stops, prints nanoseconds
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000l + t.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    char path[4096], text[256];
    snprintf(path, sizeof path, "%s/floor.tree", argv[1]);
    if (mkdir(path, 0755)) { perror(path); return 1; }
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct clone_args clone = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = directory};
    pid_t pid = syscall(SYS_clone3, &clone, sizeof clone);
    if (pid == 0) { execve(argv[2], argv + 2, environ); _exit(127); }
    int order = openat(directory, "cgroup.kill", O_WRONLY | O_CLOEXEC);
    int events = openat(directory, "cgroup.events", O_RDONLY | O_CLOEXEC);
    getchar();
    long begun = now();
    if (write(order, "1", 1) != 1) { perror("cgroup.kill"); return 1; }
    waitpid(pid, 0, 0);
    while (pread(events, text, sizeof text, 0), rmdir(path)) poll(&(struct pollfd){events, POLLPRI, 0}, 1, 100);
    fprintf(stderr, "%ld\n", now() - begun);
}
