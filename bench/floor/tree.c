/* What is to be killed: each writes a byte to descriptor 1 when it is there.
 *
 *   tree flat N       N children that wait
 *   tree chain N      N, each the child of the one before; all wait
 *   tree lines N      N lines of succession: once all are there each forks its successor and exits, for ten seconds
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void there(void) { write(1, ".", 1); }
static void wait_for_ever(void) { for (;;) pause(); }

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    int count = atoi(argv[2]);
    if (!strcmp(argv[1], "flat")) {
        for (int i = 0; i < count; i++)
            if (fork() == 0) { there(); wait_for_ever(); }
    } else if (!strcmp(argv[1], "chain")) {
        for (int i = 1; i < count; i++) {
            there();
            if (fork() != 0) wait_for_ever();
        }
        there();
    } else {
        time_t until = time(0) + 10;
        int gate[2];
        if (pipe(gate)) return 1;
        for (int i = 0; i < count; i++)
            if (fork() == 0) {
                close(gate[1]);
                there();
                char none;
                read(gate[0], &none, 1);
                close(gate[0]);
                while (time(0) < until)
                    if (fork() > 0) _exit(0);
                _exit(0);
            }
        close(gate[1]);
    }
    wait_for_ever();
}
