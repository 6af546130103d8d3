/*
 * Threads that write log lines at the same time: every line arrives whole, none is lost, and a
 * place that is limited lets through one. ThreadSanitizer must stay silent.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/log_line.h"

enum { WRITERS = 4, LINES = 5000 };

static void *write_lines(void *arg)
{
    int writer = *(const int *)arg;

    for (int i = 0; i < LINES; i++) {
        log_info(
            "writer=%d line=%d %.*s", writer, i, i % 200,
            "................................"
            "................................................................................"
            "................................................................................"
            "................................................................................");
        log_every(3600000, LOG_WARN, "limited");
    }
    return NULL;
}

int main(void)
{
    static char line[2 * LOG_LINE_MAX];
    int next[WRITERS] = {0};
    int limited = 0;
    int numbers[WRITERS];
    pthread_t writers[WRITERS];
    int ends[2];
    FILE *in;

    CHECK(pipe(ends) == 0);
    CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    (void)close(ends[1]);
    in = fdopen(ends[0], "r");
    CHECK(in != NULL);
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&writers[i], NULL, write_lines, &numbers[i]) == 0);
    }

    for (int seen = 0; seen < WRITERS * LINES + 1; seen++) {
        int writer, number;
        char dots[256] = "";
        const char *text;

        CHECK(fgets(line, sizeof line, in) != NULL);
        text = strchr(line, 'Z');
        CHECK(text != NULL);
        if (strcmp(text, "Z warn limited\n") == 0) {
            limited++;
            continue;
        }
        CHECK(sscanf(text, "Z info writer=%d line=%d %255[.]", &writer, &number, dots) >= 2);
        CHECK(writer >= 0);
        CHECK(writer < WRITERS);
        CHECK(number == next[writer]);
        CHECK(strlen(dots) == (size_t)(number % 200));
        next[writer]++;
    }
    for (int i = 0; i < WRITERS; i++)
        (void)pthread_join(writers[i], NULL);
    CHECK(limited == 1);
    (void)fclose(in);
    printf("%d lines, all whole\n", WRITERS * LINES);
    return 0;
}
