#include "storage/damage.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/err.h"

static void tell(struct damage_sink *sink, const struct damage *damage)
{
    sink->count += !damage->harmless;
    sink->notes += damage->harmless;
    sink->report(sink->arg, damage);
}

void damage_report(struct damage_sink *sink, const char *path, uint64_t offset, const char *format,
                   ...)
{
    char what[ERR_DETAIL_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    tell(sink, &(struct damage){.path = path, .offset = offset, .what = what});
}

void damage_note(struct damage_sink *sink, const char *path, const char *format, ...)
{
    char what[ERR_DETAIL_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    tell(sink, &(struct damage){path, DAMAGE_NOWHERE, what, true});
}

/* `text` behind "START: ", or `text`. */
static const char *behind(const char *text, const char *start)
{
    size_t size = strlen(start);

    return strncmp(text, start, size) == 0 && strncmp(text + size, ": ", 2) == 0 ? text + size + 2
                                                                                 : text;
}

void damage_report_error(struct damage_sink *sink, const char *path)
{
    static const char prefix[] = "offset ";
    char detail[ERR_DETAIL_MAX];
    uint64_t offset = DAMAGE_NOWHERE;
    char *colon;
    const char *what;

    (void)snprintf(detail, sizeof detail, "%s", err_detail());
    colon = path == NULL ? strstr(detail, ": ") : NULL;
    if (colon != NULL) {
        *colon = '\0';
        path = detail;
        what = colon + 2;
    } else {
        path = path == NULL ? "" : path;
        what = behind(detail, path);
    }
    if (strncmp(what, prefix, strlen(prefix)) == 0) {
        char *end;
        unsigned long long number = strtoull(what + strlen(prefix), &end, 10);

        if (strncmp(end, ": ", 2) == 0) {
            offset = number;
            what = end + 2;
        }
    }
    tell(sink, &(struct damage){.path = path, .offset = offset, .what = what});
}
