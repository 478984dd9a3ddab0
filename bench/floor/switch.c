/* The floor of a switch: OLD children are ended and NEW ones started in their place, beside KEPT ones that are left alone.
 *
 *   switch OLD KEPT NEW PROGRAM ARG       starts OLD and KEPT, waits for a line; ends OLD, reaps them, starts NEW, sleeps
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *args[3];

static pid_t start(void) {
    pid_t pid = vfork();
    if (pid == 0) {
        execve(args[0], args, environ);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    int old = atoi(argv[1]), kept = atoi(argv[2]), new = atoi(argv[3]);
    args[0] = argv[4], args[1] = argv[5];
    pid_t *pids = calloc(old, sizeof *pids);
    for (int i = 0; i < old; i++) pids[i] = start();
    for (int i = 0; i < kept; i++) start();
    getchar();
    for (int i = 0; i < old; i++) kill(pids[i], SIGTERM);
    for (int i = 0; i < old; i++) waitpid(-1, 0, 0);
    for (int i = 0; i < new; i++) start();
    pause();
}
