/* Preloaded into a test's child: calls on files whose name contains FAIL_PATTERN fail with EIO while the file
 * FAIL_TRIGGER exists and names the call ("write" or "sync"). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int fd, const char *call) {
    char link[64], name[4096], wanted[16] = "";
    const char *pattern = getenv("FAIL_PATTERN"), *trigger = getenv("FAIL_TRIGGER");
    if (!pattern || !trigger || access(trigger, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    if (!strstr(name, pattern)) return 0;
    FILE *file = fopen(trigger, "r");
    if (!file) return 0;
    int read = fscanf(file, "%15s", wanted);
    fclose(file);
    return read == 1 && !strcmp(wanted, call);
}

#define NEXT(result, name, ...) ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

ssize_t write(int fd, const void *bytes, size_t count) {
    if (fails(fd, "write")) { errno = EIO; return -1; }
    return NEXT(ssize_t, "write", int, const void *, size_t)(fd, bytes, count);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (fails(fd, "write")) { errno = EIO; return -1; }
    return NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(fd, bytes, count, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    if (fails(fd, "write")) { errno = EIO; return -1; }
    return NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t)(fd, bytes, count, at);
}
int fsync(int fd) {
    if (fails(fd, "sync")) { errno = EIO; return -1; }
    return NEXT(int, "fsync", int)(fd);
}
int fdatasync(int fd) {
    if (fails(fd, "sync")) { errno = EIO; return -1; }
    return NEXT(int, "fdatasync", int)(fd);
}
