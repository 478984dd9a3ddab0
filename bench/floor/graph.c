/* The floor of an ordered start: LAYERS of WIDTH children; each says that it is ready on descriptor 3, and begins when those
 * are ready that it needs: NEEDS of the layer before, from the one of its own place on. Who needs all of it begins when the
 * layer is ready.
 *
 *   graph LAYERS WIDTH NEEDS PROGRAM ARG        starts all, then sleeps until SIGTERM
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

extern char **environ;
static char *args[3];

/* Starts one; the end of its pipe to read from. */
static int start(void) {
    int both[2];
    if (pipe2(both, O_CLOEXEC)) _exit(1);
    if (vfork() == 0) {
        if (both[1] == 3) fcntl(3, F_SETFD, 0); else dup2(both[1], 3);
        execve(args[0], args, environ);
        _exit(127);
    }
    close(both[1]);
    return both[0];
}

static void hear(int end) {
    char byte;
    if (read(end, &byte, 1) != 1) _exit(1);
    close(end);
}

static void by_layers(int layers, int width) {
    int *ends = calloc(width, sizeof *ends);
    for (int layer = 0; layer < layers; layer++) {
        for (int i = 0; i < width; i++) ends[i] = start();
        for (int i = 0; i < width; i++) hear(ends[i]);
    }
}

static void by_needs(int layers, int width, int needs) {
    int all = layers * width, begun = 0, known = 0, ready = 0, poll = epoll_create1(EPOLL_CLOEXEC);
    int *queue = calloc(all, sizeof *queue), *missing = calloc(all, sizeof *missing), *ends = calloc(all, sizeof *ends);
    for (int i = 0; i < all; i++) missing[i] = i < width ? 0 : needs;
    while (known < width) { queue[known] = known; known++; }
    while (ready < all) {
        for (; begun < known; begun++) {
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = queue[begun]};
            ends[queue[begun]] = start();
            epoll_ctl(poll, EPOLL_CTL_ADD, ends[queue[begun]], &event);
        }
        struct epoll_event events[128];
        int count = epoll_wait(poll, events, 128, -1);
        for (int i = 0; i < count; i++) {
            int who = events[i].data.u32, layer = who / width, place = who % width;
            hear(ends[who]);
            ready++;
            if (layer + 1 == layers) continue;
            for (int k = 0; k < needs; k++) {
                int next = (layer + 1) * width + (place + width - k) % width;
                if (--missing[next] == 0) queue[known++] = next;
            }
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    int layers = atoi(argv[1]), width = atoi(argv[2]), needs = atoi(argv[3]);
    args[0] = argv[4], args[1] = argv[5];
    if (needs == width) by_layers(layers, width); else by_needs(layers, width, needs);
    pause();
}
