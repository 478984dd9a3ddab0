/* The floor of a tree that is tied to a descriptor: walks /proc, kills, reaps and repeats.
 *
 *   tied PROGRAM ARG…     starts it, waits for the end of file on descriptor 0, kills everybody below, exits
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (fork() == 0) { execve(argv[1], argv + 1, environ); _exit(127); }
    char text[4096];
    while (read(0, text, sizeof text) > 0);
    int most = 4194304, self = getpid();
    /* Parents and kills, by process id; only what is touched is there. */
    int *parent = calloc(most, sizeof *parent), *pids = calloc(most, sizeof *pids);
    char *killed = calloc(most, 1);
    for (;;) {
        int count = 0, fresh = 0;
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid <= 0) continue;
            char path[64];
            snprintf(path, sizeof path, "/proc/%d/stat", pid);
            int file = open(path, O_RDONLY);
            if (file < 0) continue;
            long length = read(file, text, sizeof text - 1);
            close(file);
            if (length <= 0) continue;
            text[length] = 0;
            char *rest = strrchr(text, ')');
            if (!rest) continue;
            parent[pid] = atoi(rest + 4);
            pids[count++] = pid;
        }
        closedir(proc);
        for (int i = 0; i < count; i++) {
            int up = pids[i], steps = 0;
            while (up > 1 && up != self && steps++ < count) up = parent[up];
            if (up != self || pids[i] == self) continue;
            fresh += !killed[pids[i]];
            killed[pids[i]] = 1;
            kill(pids[i], SIGKILL);
        }
        for (int i = 0; i < count; i++) parent[pids[i]] = 0;
        /* Whoever is new has been killed; when nobody is, there is nothing to do but to wait for one to die. */
        int dead = waitpid(-1, 0, fresh ? WNOHANG : 0);
        for (; dead > 0; dead = waitpid(-1, 0, WNOHANG)) killed[dead] = 0;
        if (dead < 0) return 0;
    }
}
