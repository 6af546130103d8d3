/*
 * How long a line of text takes: bench.line_protocol [--json]
 *
 *   tsbs       10 tags, 10 integer fields, about 340 bytes: the cpu table of TSBS
 *   sensor     2 tags, 1 float of two decimals, about 50 bytes
 *   agent      3 tags, 10 floats of 15 to 17 digits, as agents print what they computed
 *   strings    1 tag, 2 strings, one of them with escapes
 *
 * Best of several runs over the same text, one thread; text and lines fit the cache of level 2.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/wire/line_protocol.h"
#include "storage/base/bytes.h"
#include "storage/base/check.h"

enum { LINES = 1000, RUNS = 400 };

static uint64_t state = 1;

static uint32_t random_below(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % below);
}

static void put(struct bytes *out, const char *text)
{
    bytes_put(out, text, strlen(text));
}

static void make_tsbs(struct bytes *out, int i)
{
    static const char *const fields[] = {"user", "system",  "idle",  "nice",  "iowait",
                                         "irq",  "softirq", "steal", "guest", "guest_nice"};
    char text[256];

    (void)snprintf(text, sizeof text,
                   "cpu,hostname=host_%d,region=eu-central-1,datacenter=eu-central-1a,rack=%u,"
                   "os=Ubuntu15.10,arch=x86,team=SF,service=%u,service_version=1,"
                   "service_environment=production",
                   i, random_below(100), random_below(20));
    put(out, text);
    for (int f = 0; f < 10; f++) {
        (void)snprintf(text, sizeof text, "%cusage_%s=%ui", f == 0 ? ' ' : ',', fields[f],
                       random_below(101));
        put(out, text);
    }
    (void)snprintf(text, sizeof text, " 14516064%08u000\n", random_below(100000000));
    put(out, text);
}

static void make_sensor(struct bytes *out, int i)
{
    char text[128];

    (void)snprintf(text, sizeof text, "temp,site=s%u,id=%d value=%u.%02u 17000000%08u000\n",
                   random_below(50), i, random_below(90), random_below(100),
                   random_below(100000000));
    put(out, text);
}

static void make_agent(struct bytes *out, int i)
{
    char text[128];

    (void)snprintf(text, sizeof text, "cpu,cpu=cpu-total,host=node%d,region=eu", i);
    put(out, text);
    for (int f = 0; f < 10; f++) {
        (void)snprintf(text, sizeof text, "%cusage_field%d=%.17g", f == 0 ? ' ' : ',', f,
                       random_below(1000000) / 7919.0);
        put(out, text);
    }
    (void)snprintf(text, sizeof text, " 17000000%08u00\n", random_below(100000000));
    put(out, text);
}

static void make_strings(struct bytes *out, int i)
{
    char text[256];

    (void)snprintf(text, sizeof text,
                   "event,host=node%d level=\"warning\",text=\"the door \\\"%u\\\" was opened by "
                   "hand\" 17000000%08u00\n",
                   i, random_below(100), random_below(100000000));
    put(out, text);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void measure(const char *name, void (*make)(struct bytes *, int), bool json)
{
    static struct line line;
    struct bytes text = {0};
    struct line_parser parser;
    uint64_t best = UINT64_MAX, fields = 0;
    double per_line;

    for (int i = 0; i < LINES; i++)
        make(&text, i);
    CHECK(!text.failed);
    line_parser_init(&parser, 1);
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = now_ns(), took;
        uint32_t lines = 0;

        fields = 0;
        line_parser_feed(&parser, (const char *)text.data, text.size, 0);
        while (line_parser_next(&parser, &line) == ERR_OK) {
            lines++;
            fields += line.field_count;
        }
        took = now_ns() - start;
        best = took < best ? took : best;
        CHECK(lines == LINES);
    }
    per_line = (double)best / LINES;
    printf(json ? "{\"bench\":\"line_protocol\",\"case\":\"%s\",\"bytes_per_line\":%.0f,"
                  "\"ns_per_line\":%.1f,\"ns_per_field\":%.1f,\"mb_per_s\":%.0f}\n"
                : "%-8s %4.0f bytes/line  %6.1f ns/line  %6.1f ns/field  %5.0f MB/s\n",
           name, (double)text.size / LINES, per_line, (double)best / (double)fields,
           (double)text.size * 1000 / (double)best);
    line_parser_fini(&parser);
    bytes_fini(&text);
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;

    if (argc > 1 && !json) {
        (void)fprintf(stderr, "usage: bench.line_protocol [--json]\n");
        return 2;
    }
    measure("tsbs", make_tsbs, json);
    measure("sensor", make_sensor, json);
    measure("agent", make_agent, json);
    measure("strings", make_strings, json);
    return 0;
}
