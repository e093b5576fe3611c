/* The barrier, OpenMP's facts, and forking. Compiled with baseline flags and OpenMP's, if the compiler has it. */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "fastnn.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#endif
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define FNN_LOAD(x) _InterlockedOr((volatile long *)&(x), 0)
#define FNN_STORE(x, value) _InterlockedExchange((volatile long *)&(x), value)
#define FNN_INCREMENT(x) _InterlockedIncrement((volatile long *)&(x))
#define FNN_LOAD64(x) _InterlockedOr64((volatile __int64 *)&(x), 0)
#define FNN_ADD64(x, value) _InterlockedExchangeAdd64((volatile __int64 *)&(x), value)
#else
#define FNN_LOAD(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define FNN_STORE(x, value) __atomic_store_n(&(x), value, __ATOMIC_RELEASE)
#define FNN_INCREMENT(x) __atomic_add_fetch(&(x), 1, __ATOMIC_ACQ_REL)
#define FNN_LOAD64(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define FNN_ADD64(x, value) __atomic_fetch_add(&(x), value, __ATOMIC_ACQ_REL)
#endif

#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_ARM64))
#define FNN_PAUSE() YieldProcessor()
#elif defined(__x86_64__)
#define FNN_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define FNN_PAUSE() __asm__ __volatile__("yield")
#else
#define FNN_PAUSE() (void)0
#endif

#if defined(_WIN32)
static void fnn_yield(void) { SwitchToThread(); }
static int fnn_count_processors(void)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return (int)info.dwNumberOfProcessors;
}
#else
static void fnn_yield(void) { sched_yield(); }
static int fnn_count_processors(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}
#endif

/* A pause takes some 40 ns, so 2000 of them are 80 us: longer than threads wait for each other within a step on an idle
 * machine. With more threads than processors somebody waited for is not running: give way at once. */
static int fnn_spins(int threads)
{
    static int32_t processors;
    int32_t count = FNN_LOAD(processors);
    if (count == 0) {
        count = fnn_count_processors();
        FNN_STORE(processors, count);
    }
    return threads > count ? 20 : 2000;
}

static void fnn_pause(int *spins)
{
    if (*spins > 0) {
        --*spins;
        FNN_PAUSE();
    } else {
        fnn_yield();
    }
}

void fnn_barrier_wait(fnn_barrier *b, int threads)
{
    if (threads <= 1) return;
    const int32_t generation = FNN_LOAD(b->generation);
    if (FNN_INCREMENT(b->count) == threads) {
        FNN_STORE(b->count, 0);
        FNN_STORE(b->generation, generation + 1);
        return;
    }
    for (int spins = fnn_spins(threads); FNN_LOAD(b->generation) == generation;) fnn_pause(&spins);
}

int64_t fnn_take(int64_t *taken) { return FNN_ADD64(*taken, 1); }

/* Both halves of the counter only grow, and who finds their sum below n has a valid item: nobody else gets that sum. */
int64_t fnn_take_of(int64_t *taken, int64_t n, int back)
{
    int64_t state = FNN_LOAD64(*taken);
    if ((state & 0xFFFFFFFF) + (state >> 32) >= n) return -1;
    state = FNN_ADD64(*taken, back ? (int64_t)1 << 32 : 1);
    const int64_t front = state & 0xFFFFFFFF, behind = state >> 32;
    if (front + behind >= n) return -1;
    return back ? n - 1 - behind : front;
}

void fnn_wait_for_first(int64_t *taken, int threads)
{
    for (int spins = fnn_spins(threads); FNN_LOAD64(*taken) == 0;) fnn_pause(&spins);
}

#ifdef _OPENMP
int fnn_has_openmp(void) { return 1; }
int fnn_max_threads(void) { return omp_get_max_threads(); }
int fnn_in_parallel(void) { return omp_in_parallel(); }
int fnn_thread_number(void) { return omp_get_thread_num(); }
int fnn_team_size(void) { return omp_get_num_threads(); }
#else
int fnn_has_openmp(void) { return 0; }
int fnn_max_threads(void) { return 1; }
int fnn_in_parallel(void) { return 0; }
int fnn_thread_number(void) { return 0; }
int fnn_team_size(void) { return 1; }
#endif

/* OpenMP runtimes keep their threads after a region; a forked child has none of them and would wait for them for ever
 * (seen with GCC's and with LLVM's). Letting the threads go before the fork cures both sides. */
static int fnn_serial_child;
int fnn_must_run_serially(void) { return fnn_serial_child; }

/* omp_pause_resource_all is of OpenMP 5.0; gcc has it since version 9 and calls itself older. */
#if defined(_OPENMP) && !defined(_WIN32) && (_OPENMP >= 201811 || __GNUC__ >= 9)
static int fnn_kept_threads;
static void fnn_before_fork(void) { fnn_kept_threads = omp_pause_resource_all(omp_pause_hard) != 0; }
static void fnn_in_child(void) { fnn_serial_child = fnn_serial_child || fnn_kept_threads; }

void fnn_register_fork_handlers(void)
{
    static int registered;
    if (!registered) registered = pthread_atfork(fnn_before_fork, NULL, fnn_in_child) == 0;
}
#else
void fnn_register_fork_handlers(void) {}
#endif
