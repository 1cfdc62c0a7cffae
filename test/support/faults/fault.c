/*
 * Disk and clock faults for an unmodified program, loaded with LD_PRELOAD.
 *
 *   FAULT_DIRECTORY  only regular files below this directory are touched
 *   FAULT_CONTROL    a file of `struct control`, written by the test while the program runs
 *   FAULT_JOURNAL    every write and every flush of those files, in order
 *
 * The journal makes a power cut possible. A killed process loses nothing, because the kernel keeps
 * what it wrote; a machine that loses power keeps only what was flushed, and of the rest any part.
 * Each write is therefore noted with the bytes it replaces before it is done; after kill -9 the
 * test undoes what no flush covers (`power-cut.ts`). A truncated, renamed or deleted file is taken
 * for durable at once: directories are not part of the model.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Words of 8 bytes; `control.ts` knows the order. */
struct control {
    int64_t wall_offset_ns;
    int64_t monotonic_offset_ns;
    uint64_t flush_delay_us;
    uint64_t flush_fails;
    uint64_t write_fails;
    uint64_t wall_reads_shifted;
    uint64_t monotonic_reads_shifted;
    uint64_t flushes;
    uint64_t flushes_delayed;
    uint64_t flushes_failed;
    uint64_t writes_failed;
};

enum write_fails { WRITES_WORK, EXTENDING_FAILS_NO_SPACE, ALL_FAIL_NO_SPACE, ALL_FAIL_EIO };

enum kind { WRITE = 1, ZEROS = 2, FLUSHED = 3, FLUSH_FAILED = 4, DURABLE = 5 };

/* Of the journal. `position` of a flush is where the journal ended when the flush began. */
struct record {
    uint32_t magic;
    uint32_t kind;
    uint64_t inode;
    uint64_t position;
    uint64_t length;
    uint64_t old_size;
    uint64_t old_length;
};

static const uint32_t record_magic = 0x31544c46;

static struct control *control;
static char directory[4096];
static size_t directory_length;
static int journal = -1;
static uint64_t journal_end;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name)                                              \
    static __typeof__(&name) real;                              \
    if (real == NULL) {                                         \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);      \
    }

static void count(uint64_t *counter) {
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void die(const char *what) {
    perror(what);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *below = getenv("FAULT_DIRECTORY");
    const char *controlled = getenv("FAULT_CONTROL");
    const char *noted = getenv("FAULT_JOURNAL");
    if (below == NULL || controlled == NULL || noted == NULL) {
        return;
    }
    directory_length = strlen(below);
    if (directory_length + 2 > sizeof directory) {
        die("FAULT_DIRECTORY is too long");
    }
    snprintf(directory, sizeof directory, "%s/", below);
    directory_length += 1;
    journal = open(noted, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct stat status;
    if (journal < 0 || fstat(journal, &status) != 0) {
        die(noted);
    }
    journal_end = (uint64_t)status.st_size;
    int file = open(controlled, O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || at == MAP_FAILED) {
        die(controlled);
    }
    close(file);
    control = at;
}

/* ---- files */

/* What was found out about an inode; a deleted one may come back under another path. */
#define KNOWN 256
static struct { uint64_t device, inode; int below; } known[KNOWN];

static int is_below(int fd, const struct stat *status) {
    size_t slot = status->st_ino % KNOWN;
    int remembered = -1;
    pthread_mutex_lock(&lock);
    if (known[slot].inode == status->st_ino && known[slot].device == status->st_dev) {
        remembered = known[slot].below;
    }
    pthread_mutex_unlock(&lock);
    if (remembered > 0) {
        return 1;
    }
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int below = length > 0 && (size_t)length > directory_length &&
                memcmp(path, directory, directory_length) == 0;
    pthread_mutex_lock(&lock);
    known[slot].inode = status->st_ino;
    known[slot].device = status->st_dev;
    known[slot].below = below;
    pthread_mutex_unlock(&lock);
    return below;
}

/* Whether faults apply to this file. */
static int is_ours(int fd, struct stat *status) {
    int error = errno;
    int ours = control != NULL && fd != journal && fstat(fd, status) == 0 &&
               S_ISREG(status->st_mode) && is_below(fd, status);
    errno = error;
    return ours;
}

static int is_zero(const unsigned char *bytes, size_t length) {
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static void append(struct record *record, const void *old, const void *fresh, size_t length) {
    struct iovec parts[3] = {
        { record, sizeof *record },
        { (void *)old, record->old_length },
        { (void *)fresh, length },
    };
    size_t size = sizeof *record + record->old_length + length;
    record->magic = record_magic;
    if (writev(journal, parts, 3) != (ssize_t)size) {
        die("the journal of faults cannot be written");
    }
    journal_end += size;
}

/* Notes a write before it is done. */
static void note_write(int fd, const struct stat *before, const void *bytes, size_t length,
                       uint64_t at) {
    pthread_mutex_lock(&lock);
    struct stat now = *before;
    fstat(fd, &now);
    uint64_t size = (uint64_t)now.st_size;
    uint64_t replaced = at >= size ? 0 : (size - at < length ? size - at : length);
    int zeros = is_zero(bytes, length);
    unsigned char *old = malloc(replaced + 1);
    if (old == NULL) {
        die("no memory for the journal of faults");
    }
    /* The program's own descriptor may be open for writing only. */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int reader = replaced > 0 ? open(link, O_RDONLY | O_CLOEXEC) : -1;
    for (uint64_t have = 0; have < replaced;) {
        ssize_t got = pread(reader, old + have, replaced - have, (off_t)(at + have));
        if (got <= 0) {
            die("a file cannot be read back");
        }
        have += (uint64_t)got;
    }
    if (reader >= 0) {
        close(reader);
    }
    struct record record = {
        .kind = zeros ? ZEROS : WRITE, .inode = now.st_ino, .position = at, .length = length,
        .old_size = size, .old_length = replaced,
    };
    append(&record, old, bytes, zeros ? 0 : length);
    pthread_mutex_unlock(&lock);
    free(old);
}

static void note(enum kind kind, uint64_t inode, uint64_t position) {
    pthread_mutex_lock(&lock);
    struct record record = { .kind = kind, .inode = inode, .position = position };
    append(&record, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
}

/* What is at this path is gone or new: nothing noted before concerns it any more. */
static void note_durable(int at, const char *path) {
    struct stat status;
    int error = errno;
    if (control != NULL && fstatat(at, path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(status.st_mode)) {
        note(DURABLE, status.st_ino, 0);
    }
    errno = error;
}

/* The error a write must fail with, or 0. */
static int write_error(const struct stat *status, uint64_t end) {
    switch (control->write_fails) {
    case EXTENDING_FAILS_NO_SPACE:
        return end > (uint64_t)status->st_size ? ENOSPC : 0;
    case ALL_FAIL_NO_SPACE:
        return ENOSPC;
    case ALL_FAIL_EIO:
        return EIO;
    default:
        return 0;
    }
}

/* Answers 0 when the write may be done. */
static int before_write(int fd, const void *bytes, size_t length, int64_t at) {
    struct stat status;
    if (!is_ours(fd, &status)) {
        return 0;
    }
    if (at < 0) {
        int appends = fcntl(fd, F_GETFL) & O_APPEND;
        at = appends ? status.st_size : lseek(fd, 0, SEEK_CUR);
    }
    int error = write_error(&status, (uint64_t)at + length);
    if (error != 0) {
        count(&control->writes_failed);
        errno = error;
        return -1;
    }
    note_write(fd, &status, bytes, length, (uint64_t)at);
    return 0;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write)
    return before_write(fd, bytes, length, -1) != 0 ? -1 : real(fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    REAL(pwrite)
    return before_write(fd, bytes, length, at) != 0 ? -1 : real(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    REAL(pwrite64)
    return before_write(fd, bytes, length, at) != 0 ? -1 : real(fd, bytes, length, at);
}

typedef int (*flush_function)(int);

static int flush(int fd, flush_function real) {
    struct stat status;
    if (!is_ours(fd, &status)) {
        return real(fd);
    }
    pthread_mutex_lock(&lock);
    uint64_t position = journal_end;
    pthread_mutex_unlock(&lock);
    count(&control->flushes);
    uint64_t delay_us = control->flush_delay_us;
    if (delay_us > 0) {
        count(&control->flushes_delayed);
        struct timespec pause = { (time_t)(delay_us / 1000000), (long)(delay_us % 1000000) * 1000 };
        nanosleep(&pause, NULL);
    }
    if (control->flush_fails) {
        /* As Linux does: the pages are clean now, a later flush will not write them. */
        count(&control->flushes_failed);
        note(FLUSH_FAILED, status.st_ino, position);
        errno = EIO;
        return -1;
    }
    int outcome = real(fd);
    note(outcome == 0 ? FLUSHED : FLUSH_FAILED, status.st_ino, position);
    return outcome;
}

int fsync(int fd) {
    REAL(fsync)
    return flush(fd, real);
}

int fdatasync(int fd) {
    REAL(fdatasync)
    return flush(fd, real);
}

static void note_truncated(int fd) {
    struct stat status;
    if (is_ours(fd, &status)) {
        note(DURABLE, status.st_ino, 0);
    }
}

int ftruncate(int fd, off_t length) {
    REAL(ftruncate)
    note_truncated(fd);
    return real(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64)
    note_truncated(fd);
    return real(fd, length);
}

int unlink(const char *path) {
    REAL(unlink)
    note_durable(AT_FDCWD, path);
    return real(path);
}

int unlinkat(int at, const char *path, int flags) {
    REAL(unlinkat)
    note_durable(at, path);
    return real(at, path, flags);
}

int rename(const char *from, const char *to) {
    REAL(rename)
    note_durable(AT_FDCWD, to);
    return real(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    REAL(renameat)
    note_durable(to_at, to);
    return real(from_at, from, to_at, to);
}

/* ---- clocks */

static void shift(struct timespec *time, int64_t by_ns) {
    int64_t ns = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + by_ns;
    time->tv_sec = (time_t)(ns / 1000000000);
    time->tv_nsec = (long)(ns % 1000000000);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime)
    int outcome = real(clock, time);
    if (control == NULL || outcome != 0) {
        return outcome;
    }
    int wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    int monotonic = clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE;
    if (wall && control->wall_offset_ns != 0) {
        count(&control->wall_reads_shifted);
        shift(time, control->wall_offset_ns);
    } else if (monotonic && control->monotonic_offset_ns != 0) {
        count(&control->monotonic_reads_shifted);
        shift(time, control->monotonic_offset_ns);
    }
    return outcome;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    (void)zone;
    int outcome = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return outcome;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
