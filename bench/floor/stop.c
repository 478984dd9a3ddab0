/* The floor of stopping: N children, each in a cgroup of its own; kill, reap and remove them all.
 *
 *   stop N CGROUP PROGRAM ARG             starts, says "up", waits for a line, stops, prints nanoseconds
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    if (argc < 5) return 2;
    int count = atoi(argv[1]);
    char *args[] = {argv[3], argv[4], 0};
    char path[4096];
    pid_t *pids = calloc(count, sizeof *pids);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/floor.%d", argv[2], i);
        if (mkdir(path, 0755)) { perror(path); return 1; }
        int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct clone_args clone = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = directory};
        pids[i] = syscall(SYS_clone3, &clone, sizeof clone);
        if (pids[i] == 0) { execve(args[0], args, environ); _exit(127); }
        close(directory);
    }
    puts("up");
    fflush(stdout);
    getchar();
    long begun = now();
    for (int i = 0; i < count; i++) kill(pids[i], SIGTERM);
    for (int i = 0; i < count; i++) waitpid(-1, 0, 0);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/floor.%d", argv[2], i);
        if (rmdir(path)) { perror(path); return 1; }
    }
    printf("%ld\n", now() - begun);
}
