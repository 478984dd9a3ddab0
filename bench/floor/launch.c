/* The floor of starting: vfork and exec, N times, with no set-up and no cgroup; or posix_spawn.
 *
 *   launch vfork|spawn N PROGRAM ARG      starts N, then sleeps until SIGTERM
 */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    int count = atoi(argv[2]);
    char *args[] = {argv[3], argv[4], 0};
    for (int i = 0; i < count; i++) {
        if (!strcmp(argv[1], "spawn")) {
            pid_t pid;
            if (posix_spawn(&pid, args[0], 0, 0, args, environ)) return 1;
        } else if (vfork() == 0) {
            execve(args[0], args, environ);
            _exit(127);
        }
    }
    pause();
}
