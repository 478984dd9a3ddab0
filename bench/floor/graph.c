/* The floor of an ordered start: LAYERS of WIDTH children; each says that it is ready on descriptor 3, and begins when those
 * are ready that it needs: NEEDS of the layer before, from the one of its own place on. Who needs all of it begins when the
 * layer is ready.
 *
 *   graph LAYERS WIDTH NEEDS PROGRAM ARG [CGROUP]        starts all, then sleeps until SIGTERM
 *
 * With CGROUP each is born into a fresh cgroup below that, leads a session, and has no descriptor but 0 to 3.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;
static char *args[3], *cgroup;
static int both[2];

__attribute__((noreturn)) static void child(void) {
    if (cgroup) {
        setsid();
        if (syscall(SYS_close_range, both[1] < 3 ? 4 : both[1] + 1, ~0u, CLOSE_RANGE_UNSHARE)) _exit(127);
    }
    if (both[1] == 3) fcntl(3, F_SETFD, 0); else dup2(both[1], 3);
    if (cgroup) syscall(SYS_close_range, 4, ~0u, 0);
    execve(args[0], args, environ);
    _exit(127);
}

/* As vfork(2), into a cgroup: the child needs a stack of its own, since clone3(2) has no wrapper that would keep ours whole. */
static void born_into(int directory) {
    static char stack[65536] __attribute__((aligned(16)));
    struct clone_args how = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD,
        .stack = (uintptr_t)stack, .stack_size = sizeof stack, .cgroup = directory,
    };
    long made;
#if defined(__x86_64__)
    __asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n call *%1\n 1:"
                     : "=a"(made) : "r"(child), "a"(SYS_clone3), "D"(&how), "S"(sizeof how) : "rcx", "r11", "memory");
#else
    how.flags &= ~(CLONE_VM | CLONE_FILES), how.stack = how.stack_size = 0;
    if ((made = syscall(SYS_clone3, &how, sizeof how)) == 0) child();
#endif
    if (made < 0) _exit(1);
}

/* Starts one; the end of its pipe to read from. */
static int start(void) {
    static int number;
    if (pipe2(both, O_CLOEXEC)) _exit(1);
    if (cgroup) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", cgroup, number++);
        int directory = mkdir(path, 0755) ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) _exit(1);
        born_into(directory);
        close(directory);
    } else if (vfork() == 0) {
        child();
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
    args[0] = argv[4], args[1] = argv[5], cgroup = argv[6];
    if (needs == width) by_layers(layers, width); else by_needs(layers, width, needs);
    pause();
}
