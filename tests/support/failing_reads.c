/* Makes one read of a file below a folder fail: preloaded, and told which by `fail_read`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char folder[4096];
static long left;

void fail_read(long number, const char *path) {
    snprintf(folder, sizeof folder, "%s", path);
    left = number;
}

long reads_left(void) { return left; }

static int fails(int file) {
    char link[64], path[4096];
    if (left <= 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) || --left) return 0;
    errno = EIO;
    return 1;
}

ssize_t read(int file, void *into, size_t count) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "read");
    return fails(file) ? -1 : real(file, into, count);
}

ssize_t pread(int file, void *into, size_t count, off_t at) {
    static ssize_t (*real)(int, void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "pread");
    return fails(file) ? -1 : real(file, into, count, at);
}

ssize_t pread64(int file, void *into, size_t count, off64_t at) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pread64");
    return fails(file) ? -1 : real(file, into, count, at);
}
