/* What is started where the cost of a program as people write them counts: dynamically linked, with its libc.
 *
 *   service r   says it is ready (a newline on descriptor 3), writes the time (16 bytes: pid, nanoseconds) to descriptor 1 and sleeps
 */
#include <time.h>
#include <unistd.h>

int main(void) {
    struct timespec time;
    unsigned long record[2];
    if (write(3, "\n", 1) != 1) return 1;
    clock_gettime(CLOCK_MONOTONIC, &time);
    record[0] = (unsigned long)getpid();
    record[1] = (unsigned long)time.tv_sec * 1000000000ul + (unsigned long)time.tv_nsec;
    if (write(1, record, sizeof record) != sizeof record) return 1;
    for (;;) pause();
}
