/* Preloaded into a child: a disk that fails, tears, is slow or says nothing, as one rule in a shared file asks for. The file
   is written by the test and looked at before each call, so that a child need not be told. Only files below a chosen
   directory are meant. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Some systems have it as a macro. */
#undef fread_unlocked

enum { WRITE = 1, SYNC = 2, READ = 4, OPEN = 8, OPEN_TO_WRITE = 16, RENAME = 32 };

/* `control.rs` writes it in this order. */
struct rule {
    int32_t calls, skip, times, error, delay_ms, torn, hits;
    char name[64];
};

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*write_t)(int, const void *, size_t);

static struct rule *rule;
static const char *below;

__attribute__((constructor)) static void begin(void) {
    const char *control = getenv("WINDLASS_FAULTS_CONTROL");
    below = getenv("WINDLASS_FAULTS_BELOW");
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    int fd = control && below ? real(control, O_RDWR) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *rule, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        _exit(97);
    }
    close(fd);
    rule = map;
}

static int is_asked(int calls) {
    return rule && (__atomic_load_n(&rule->calls, __ATOMIC_ACQUIRE) & calls);
}

/* Whether this call is to go wrong. A delay is served here. */
static int judge(const char *path) {
    if (!path || strncmp(path, below, strlen(below)) != 0 || !strstr(path + strlen(below), rule->name)) {
        return 0;
    }
    if (__atomic_fetch_sub(&rule->skip, 1, __ATOMIC_SEQ_CST) > 0 || __atomic_fetch_sub(&rule->times, 1, __ATOMIC_SEQ_CST) <= 0) {
        return 0;
    }
    __atomic_fetch_add(&rule->hits, 1, __ATOMIC_SEQ_CST);
    struct timespec left = {rule->delay_ms / 1000, rule->delay_ms % 1000 * 1000000L};
    while (left.tv_sec + left.tv_nsec > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    int fails = rule->error != 0 || rule->torn != 0;
    if (fails) {
        /* Told here, below everything that could keep it to itself, between the lines that the child writes. */
        char line[128];
        const char *name = strrchr(path, '/');
        int length = snprintf(line, sizeof line, "~failed %.64s\n", name ? name + 1 : path);
        if (REAL(write_t, "write")(1, line, (size_t)length) < 0) {
            _exit(98);
        }
    }
    return fails;
}

static int judge_fd(int calls, int fd) {
    if (!is_asked(calls)) {
        return 0;
    }
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) {
        return 0;
    }
    path[length] = 0;
    return judge(path);
}

typedef ssize_t (*pwrite_t)(int, const void *, size_t, off_t);
typedef ssize_t (*read_t)(int, void *, size_t);
typedef ssize_t (*pread_t)(int, void *, size_t, off_t);
typedef int (*sync_t)(int);
typedef int (*open_t)(const char *, int, ...);
typedef int (*openat_t)(int, const char *, int, ...);
typedef size_t (*fread_t)(void *, size_t, size_t, FILE *);
typedef int (*rename_t)(const char *, const char *);

ssize_t write(int fd, const void *bytes, size_t length) {
    static write_t real;
    real = real ? real : REAL(write_t, "write");
    if (judge_fd(WRITE, fd)) {
        /* Half of it reaches the file before the disk says no. */
        if (rule->torn && real(fd, bytes, length / 2) < 0) {
            return -1;
        }
        errno = rule->error;
        return -1;
    }
    return real(fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    if (judge_fd(WRITE, fd)) {
        errno = rule->error;
        return -1;
    }
    return REAL(pwrite_t, "pwrite")(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite(fd, bytes, length, at);
}

/* A read that is torn says that the file ends there. */
ssize_t read(int fd, void *bytes, size_t length) {
    static read_t real;
    real = real ? real : REAL(read_t, "read");
    if (judge_fd(READ, fd)) {
        errno = rule->error;
        return rule->torn ? 0 : -1;
    }
    return real(fd, bytes, length);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t at) {
    if (judge_fd(READ, fd)) {
        errno = rule->error;
        return rule->torn ? 0 : -1;
    }
    return REAL(pread_t, "pread")(fd, bytes, length, at);
}

ssize_t pread64(int fd, void *bytes, size_t length, off_t at) {
    return pread(fd, bytes, length, at);
}

size_t fread_unlocked(void *bytes, size_t size, size_t n, FILE *file) {
    if (judge_fd(READ, fileno(file))) {
        if (rule->torn) {
            /* Past the end, so that the stream says so itself. */
            fseek(file, 0, SEEK_END);
            return REAL(fread_t, "fread_unlocked")(bytes, size, n, file);
        }
        errno = rule->error;
        return 0;
    }
    return REAL(fread_t, "fread_unlocked")(bytes, size, n, file);
}

int fdatasync(int fd) {
    if (judge_fd(SYNC, fd)) {
        errno = rule->error;
        return -1;
    }
    return REAL(sync_t, "fdatasync")(fd);
}

int fsync(int fd) {
    if (judge_fd(SYNC, fd)) {
        errno = rule->error;
        return -1;
    }
    return REAL(sync_t, "fsync")(fd);
}

static int may_not_open(const char *path, int flags) {
    int calls = OPEN | (flags & (O_WRONLY | O_RDWR | O_CREAT) ? OPEN_TO_WRITE : 0);
    if (is_asked(calls) && judge(path)) {
        errno = rule->error;
        return 1;
    }
    return 0;
}

static mode_t mode_of(int flags, va_list more) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define OPENS(name)                                                                                                            \
    int name(const char *path, int flags, ...) {                                                                               \
        va_list more;                                                                                                          \
        va_start(more, flags);                                                                                                 \
        mode_t mode = mode_of(flags, more);                                                                                    \
        va_end(more);                                                                                                          \
        return may_not_open(path, flags) ? -1 : REAL(open_t, #name)(path, flags, mode);                                        \
    }

OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                                                         \
    int name(int at, const char *path, int flags, ...) {                                                                       \
        va_list more;                                                                                                          \
        va_start(more, flags);                                                                                                 \
        mode_t mode = mode_of(flags, more);                                                                                    \
        va_end(more);                                                                                                          \
        return may_not_open(path, flags) ? -1 : REAL(openat_t, #name)(at, path, flags, mode);                                  \
    }

OPENS_AT(openat)
OPENS_AT(openat64)

int rename(const char *from, const char *to) {
    if (is_asked(RENAME) && judge(to)) {
        errno = rule->error;
        return -1;
    }
    return REAL(rename_t, "rename")(from, to);
}
