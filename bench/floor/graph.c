/* The floor of an ordered start: LAYERS of WIDTH children; each says that it is ready on descriptor 3, and a layer begins
 * when the one before is ready.
 *
 *   graph LAYERS WIDTH PROGRAM ARG        starts all, then sleeps until SIGTERM
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <fcntl.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    int layers = atoi(argv[1]), width = atoi(argv[2]);
    char *args[] = {argv[3], argv[4], 0};
    int *ends = calloc(width, sizeof *ends);
    for (int layer = 0; layer < layers; layer++) {
        for (int i = 0; i < width; i++) {
            int both[2];
            if (pipe2(both, O_CLOEXEC)) return 1;
            ends[i] = both[0];
            if (vfork() == 0) {
                if (both[1] == 3) fcntl(3, F_SETFD, 0); else dup2(both[1], 3);
                execve(args[0], args, environ);
                _exit(127);
            }
            close(both[1]);
        }
        for (int i = 0; i < width; i++) {
            char byte;
            if (read(ends[i], &byte, 1) != 1) return 1;
            close(ends[i]);
        }
    }
    pause();
}
