#include "loadgen/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64's last steps: well mixed bits from a number that counts. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void workload_init(struct workload *workload, const struct plan *plan, int64_t start_ns)
{
    *workload = (struct workload){.kind = plan->workload,
                                  .series = plan->series,
                                  .fields = plan->fields,
                                  .writers = plan->connections,
                                  .seed = plan->seed,
                                  .start_ns = start_ns};
}

const char *workload_table(const struct workload *workload)
{
    switch (workload->kind) {
    case WORKLOAD_RANDOM:
        return "load_random";
    case WORKLOAD_TSBS:
        return "cpu";
    case WORKLOAD_ROWS:
    case WORKLOAD_REPLAY:
        break;
    }
    return "load_rows";
}

const char *workload_field(const struct workload *workload, uint32_t field, char *room)
{
    static const char *const tsbs[] = {
        "usage_user", "usage_system",  "usage_idle",  "usage_nice",  "usage_iowait",
        "usage_irq",  "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice"};

    if (workload->kind == WORKLOAD_TSBS)
        return tsbs[field];
    if (workload->fields == 1)
        return "value";
    (void)snprintf(room, 16, "f%u", field);
    return room;
}

bool workload_is_integer(const struct workload *workload)
{
    return workload->kind == WORKLOAD_TSBS;
}

const char *workload_series_tag(const struct workload *workload)
{
    return workload->kind == WORKLOAD_TSBS ? "hostname" : "device";
}

uint32_t workload_tags(const struct workload *workload, uint32_t series,
                       struct workload_tag *ret_tags)
{
    static const char *const names[WORKLOAD_TAGS_MAX] = {
        "arch",    "datacenter",          "hostname",        "os",  "rack", "region",
        "service", "service_environment", "service_version", "team"};
    static const char *const regions[] = {"us-east-1", "us-west-1", "eu-west-1", "eu-central-1",
                                          "ap-south-1"};
    static const char *const teams[] = {"SF", "NYC", "LON", "CHI"};
    uint64_t bits = mix(workload->seed ^ series);
    const char *region = regions[bits % 5];

    if (workload->kind != WORKLOAD_TSBS) {
        ret_tags[0].name = "device";
        (void)snprintf(ret_tags[0].value, WORKLOAD_TEXT_MAX, "d%u", series);
        return 1;
    }
    for (uint32_t i = 0; i < WORKLOAD_TAGS_MAX; i++)
        ret_tags[i].name = names[i];
    (void)snprintf(ret_tags[0].value, WORKLOAD_TEXT_MAX, "%s", bits & 8 ? "x64" : "x86");
    (void)snprintf(ret_tags[1].value, WORKLOAD_TEXT_MAX, "%s%c", region,
                   (char)('a' + bits / 16 % 3));
    (void)snprintf(ret_tags[2].value, WORKLOAD_TEXT_MAX, "host_%u", series);
    (void)snprintf(ret_tags[3].value, WORKLOAD_TEXT_MAX, "%s",
                   bits & 64 ? "Ubuntu16.10" : "Debian12");
    (void)snprintf(ret_tags[4].value, WORKLOAD_TEXT_MAX, "%u", (unsigned)(bits / 128 % 100));
    (void)snprintf(ret_tags[5].value, WORKLOAD_TEXT_MAX, "%s", region);
    (void)snprintf(ret_tags[6].value, WORKLOAD_TEXT_MAX, "%u", (unsigned)(bits / 65536 % 20));
    (void)snprintf(ret_tags[7].value, WORKLOAD_TEXT_MAX, "%s", bits & 256 ? "production" : "test");
    (void)snprintf(ret_tags[8].value, WORKLOAD_TEXT_MAX, "%u", (unsigned)(bits / 1024 % 2));
    (void)snprintf(ret_tags[9].value, WORKLOAD_TEXT_MAX, "%s", teams[bits / 2048 % 4]);
    return WORKLOAD_TAGS_MAX;
}

int64_t workload_series_of(const struct workload *workload, const char *tag_value)
{
    const char *prefix = workload->kind == WORKLOAD_TSBS ? "host_" : "d";
    size_t size = strlen(prefix);
    char written[WORKLOAD_TEXT_MAX];
    unsigned long series;

    if (strncmp(tag_value, prefix, size) != 0)
        return -1;
    series = strtoul(tag_value + size, NULL, 10);
    if (series >= workload->series)
        return -1;
    /* As it was written, to the letter: "d05" is somebody else's. */
    (void)snprintf(written, sizeof written, "%s%lu", prefix, series);
    return strcmp(written, tag_value) == 0 ? (int64_t)series : -1;
}

uint32_t workload_row_series(const struct workload *workload, uint32_t writer, uint64_t row)
{
    /* Of the writer's own series: those with series % writers == writer. */
    uint32_t own = (workload->series - writer + workload->writers - 1) / workload->writers;
    uint64_t place = workload->kind == WORKLOAD_RANDOM
                         ? mix(workload->seed ^ (row << 8) ^ writer) % own
                         : row % own;

    return (uint32_t)place * workload->writers + writer;
}

int64_t workload_value(const struct workload *workload, uint32_t series, uint64_t row,
                       uint32_t field)
{
    uint64_t base = mix(workload->seed ^ ((uint64_t)series << 8) ^ field);
    uint64_t noise = mix(base ^ row);

    /* A level of each series and field, and some noise on it, as sensors have. */
    if (workload_is_integer(workload))
        return (int64_t)(base % 90 + noise % 10);
    return (int64_t)(base % 10000) + (int64_t)(noise % 201) - 100;
}

bool workload_locate(const struct workload *workload, int64_t time_ns, uint32_t *ret_writer,
                     uint64_t *ret_row)
{
    if (time_ns < workload->start_ns)
        return false;
    *ret_writer = (uint32_t)((uint64_t)(time_ns - workload->start_ns) % workload->writers);
    *ret_row = (uint64_t)(time_ns - workload->start_ns) / workload->writers;
    return true;
}
