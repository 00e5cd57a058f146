/* Preloaded into a child: writes one ordered log of all that the child asks the file system to change below one folder, with
   the bytes, and of what the child says on its standard output.

   A call and its line in the log happen under one lock, so that the log's order is the order of the calls. Syncs are the
   exception: they have two lines, and cover only what the log has before the first; the second is written when the sync has
   succeeded. What the child says is logged before it is said.

   Calls that would change a file past this library (shared mappings, copies inside the kernel, duplicates of descriptors) are
   logged as 'X': the reader then refuses the log. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MAX 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static const char *root = NULL;
static size_t root_length = 0;
/* Whether a descriptor is a file (1) or a folder (2) below the root. */
static unsigned char is_ours[FILES_MAX];
static uint64_t syncs = 0;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WINDLASS_RECORD_LOG");
    root = getenv("WINDLASS_RECORD_ROOT");
    if (!path || !root) {
        return;
    }
    root_length = strlen(root);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    log_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 1000);
    if (log_fd < 0) {
        _exit(97);
    }
    syscall(SYS_close, fd);
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        long done = syscall(SYS_write, log_fd, at, length);
        if (done <= 0) {
            _exit(98);
        }
        at += done;
        length -= (size_t)done;
    }
}

/* One line: kind, flag, descriptor, two numbers, two texts. */
static void line(char kind, uint8_t flag, int fd, uint64_t a, uint64_t b, const void *one, size_t ones, const void *two,
                 size_t twos) {
    unsigned char head[32] = {0};
    uint32_t fd32 = (uint32_t)fd, one32 = (uint32_t)ones, two32 = (uint32_t)twos;
    head[0] = (unsigned char)kind;
    head[1] = flag;
    memcpy(head + 4, &fd32, 4);
    memcpy(head + 8, &a, 8);
    memcpy(head + 16, &b, 8);
    memcpy(head + 24, &one32, 4);
    memcpy(head + 28, &two32, 4);
    put(head, sizeof head);
    put(one, ones);
    put(two, twos);
}

static int is_below(const char *path) {
    return log_fd >= 0 && path && strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == 0);
}

static int kind_of(int fd) {
    return log_fd >= 0 && fd >= 0 && fd < FILES_MAX ? is_ours[fd] : 0;
}

static void strange(const char *what) {
    line('X', 0, -1, 0, 0, what, strlen(what), NULL, 0);
}

static int open_any(int at, const char *path, int flags, mode_t mode) {
    if (!is_below(path)) {
        return (int)syscall(SYS_openat, at, path, flags, mode);
    }
    pthread_mutex_lock(&lock);
    struct stat before;
    int was_there = stat(path, &before) == 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    int error = errno;
    if (fd >= 0) {
        struct stat now;
        int is_folder = fstat(fd, &now) == 0 && S_ISDIR(now.st_mode);
        uint8_t flag = (uint8_t)((was_there ? 0 : 1) | ((flags & O_TRUNC) ? 2 : 0) | (is_folder ? 4 : 0));
        if (fd >= FILES_MAX) {
            strange("a descriptor beyond the table");
        } else {
            is_ours[fd] = is_folder ? 2 : 1;
        }
        line('O', flag, fd, 0, 0, path, strlen(path), NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define OPEN(name, before, at)                                                                                         \
    int name before {                                                                                                  \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list more;                                                                                              \
            va_start(more, flags);                                                                                     \
            mode = (mode_t)va_arg(more, int);                                                                          \
            va_end(more);                                                                                              \
        }                                                                                                              \
        return open_any(at, path, flags, mode);                                                                        \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), at)
OPEN(openat64, (int at, const char *path, int flags, ...), at)

int close(int fd) {
    if (!kind_of(fd)) {
        return (int)syscall(SYS_close, fd);
    }
    pthread_mutex_lock(&lock);
    is_ours[fd] = 0;
    line('C', 0, fd, 0, 0, NULL, 0, NULL, 0);
    int answer = (int)syscall(SYS_close, fd);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return answer;
}

/* What was written is logged where it stands: the descriptor's place is behind it, also where it appends. */
static void written(int fd, const void *bytes, ssize_t done, int64_t at) {
    if (done > 0) {
        int64_t place = at >= 0 ? at : (int64_t)lseek(fd, 0, SEEK_CUR) - done;
        line('W', 0, fd, (uint64_t)place, 0, bytes, (size_t)done, NULL, 0);
    }
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (log_fd < 0 || (fd != 1 && !kind_of(fd))) {
        return syscall(SYS_write, fd, bytes, length);
    }
    pthread_mutex_lock(&lock);
    if (fd == 1) {
        line('M', 0, fd, 0, 0, bytes, length, NULL, 0);
    }
    ssize_t done = syscall(SYS_write, fd, bytes, length);
    int error = errno;
    if (fd != 1) {
        written(fd, bytes, done, -1);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static ssize_t pwrite_any(int fd, const void *bytes, size_t length, off_t at) {
    if (!kind_of(fd)) {
        return syscall(SYS_pwrite64, fd, bytes, length, at);
    }
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, at);
    int error = errno;
    written(fd, bytes, done, at);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite_any(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite_any(fd, bytes, length, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!kind_of(fd)) {
        return syscall(SYS_writev, fd, parts, count);
    }
    /* A short write is allowed: the first part that is not empty, and the caller comes again. */
    for (int part = 0; part < count; part++) {
        if (parts[part].iov_len > 0) {
            return write(fd, parts[part].iov_base, parts[part].iov_len);
        }
    }
    return 0;
}

static int truncate_any(int fd, off_t length) {
    if (!kind_of(fd)) {
        return (int)syscall(SYS_ftruncate, fd, length);
    }
    pthread_mutex_lock(&lock);
    int answer = (int)syscall(SYS_ftruncate, fd, length);
    int error = errno;
    if (answer == 0) {
        line('T', 0, fd, (uint64_t)length, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return answer;
}

int ftruncate(int fd, off_t length) {
    return truncate_any(fd, length);
}

int ftruncate64(int fd, off_t length) {
    return truncate_any(fd, length);
}

/* The flag is the mode: 0 makes the file longer, 1 keeps its size, 3 makes a hole. */
static int allocate_any(int fd, int mode, off_t at, off_t length) {
    if (!kind_of(fd)) {
        return (int)syscall(SYS_fallocate, fd, mode, at, length);
    }
    pthread_mutex_lock(&lock);
    int answer = (int)syscall(SYS_fallocate, fd, mode, at, length);
    int error = errno;
    if (answer == 0) {
        line('A', (uint8_t)mode, fd, (uint64_t)at, (uint64_t)length, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return answer;
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    return allocate_any(fd, mode, at, length);
}

int fallocate64(int fd, int mode, off_t at, off_t length) {
    return allocate_any(fd, mode, at, length);
}

int posix_fallocate(int fd, off_t at, off_t length) {
    return allocate_any(fd, 0, at, length) == 0 ? 0 : errno;
}

static int sync_any(int fd, long call) {
    int kind = kind_of(fd);
    if (!kind) {
        return (int)syscall(call, fd);
    }
    pthread_mutex_lock(&lock);
    uint64_t no = ++syncs;
    line('B', (uint8_t)kind, fd, no, 0, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    int answer = (int)syscall(call, fd);
    int error = errno;
    if (answer == 0) {
        pthread_mutex_lock(&lock);
        line('S', (uint8_t)kind, fd, no, 0, NULL, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return answer;
}

int fsync(int fd) {
    return sync_any(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return sync_any(fd, SYS_fdatasync);
}

/* A call on one or two names. */
static int names(char kind, long answer, const char *one, const char *two) {
    int error = errno;
    if (answer == 0) {
        line(kind, 0, -1, 0, 0, one, strlen(one), two, two ? strlen(two) : 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return (int)answer;
}

int rename(const char *from, const char *to) {
    if (!is_below(from) && !is_below(to)) {
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    }
    pthread_mutex_lock(&lock);
    return names('R', syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), from, to);
}

int link(const char *from, const char *to) {
    if (!is_below(from) && !is_below(to)) {
        return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    }
    pthread_mutex_lock(&lock);
    return names('L', syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0), from, to);
}

int unlink(const char *path) {
    if (!is_below(path)) {
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    }
    pthread_mutex_lock(&lock);
    return names('U', syscall(SYS_unlinkat, AT_FDCWD, path, 0), path, NULL);
}

int rmdir(const char *path) {
    if (!is_below(path)) {
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    }
    pthread_mutex_lock(&lock);
    return names('U', syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR), path, NULL);
}

int mkdir(const char *path, mode_t mode) {
    if (!is_below(path)) {
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    }
    pthread_mutex_lock(&lock);
    return names('D', syscall(SYS_mkdirat, AT_FDCWD, path, mode), path, NULL);
}

static void *map_any(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    if (kind_of(fd) && (access & PROT_WRITE) && (flags & MAP_SHARED)) {
        pthread_mutex_lock(&lock);
        strange("a shared mapping that can be written to");
        pthread_mutex_unlock(&lock);
    }
    return (void *)syscall(SYS_mmap, at, length, access, flags, fd, offset);
}

void *mmap(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    return map_any(at, length, access, flags, fd, offset);
}

void *mmap64(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    return map_any(at, length, access, flags, fd, offset);
}

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned int flags) {
    if (kind_of(to)) {
        pthread_mutex_lock(&lock);
        strange("a copy inside the kernel");
        pthread_mutex_unlock(&lock);
    }
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags);
}
