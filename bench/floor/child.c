/* What is started: 1 KiB, no libc, so that it costs next to nothing.
 *
 *   child p   writes the time (16 bytes: pid, nanoseconds) to descriptor 1 and sleeps
 *   child d   ends with status 1
 *   child r   says it is ready (a newline on descriptor 3), writes the time to descriptor 1 and sleeps
 *   child s   sleeps
 */
typedef unsigned long u64;

#if defined(__x86_64__)
static long call(long n, long a, long b, long c) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
enum { WRITE = 1, PAUSE = 34, GETPID = 39, CLOCK_GETTIME = 228, EXIT_GROUP = 231 };
static void pause_once(void) { call(PAUSE, 0, 0, 0); }
#define START __asm__(".globl _start\n_start:\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n")
#elif defined(__aarch64__)
static long call(long n, long a, long b, long c) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
enum { WRITE = 64, GETPID = 172, CLOCK_GETTIME = 113, EXIT_GROUP = 94, PPOLL = 73 };
static void pause_once(void) { call(PPOLL, 0, 0, 0); }
#define START __asm__(".globl _start\n_start:\n mov x0, sp\n bl begin\n")
#endif

START;

__attribute__((used)) void begin(long *stack) {
    char mode = stack[0] > 1 ? ((char *)stack[2])[0] : 's';
    if (mode == 'd') call(EXIT_GROUP, 1, 0, 0);
    if (mode == 'r') call(WRITE, 3, (long)"\n", 1);
    if (mode == 'p' || mode == 'r') {
        u64 time[2], record[2];
        call(CLOCK_GETTIME, 1, (long)time, 0);
        record[0] = (u64)call(GETPID, 0, 0, 0);
        record[1] = time[0] * 1000000000ul + time[1];
        call(WRITE, 1, (long)record, sizeof record);
    }
    for (;;) pause_once();
}
