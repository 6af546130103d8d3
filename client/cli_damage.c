#include "client/cli_damage.h"

#include <inttypes.h>
#include <string.h>

#include "client/cli_print.h"

static void print_json(const struct cli_damage *printer, const struct damage *damage)
{
    bool first = printer->sink.count + printer->sink.notes == 1;

    fputs(first ? "\n  {\"file\": " : ",\n  {\"file\": ", printer->out);
    cli_print_json_string(printer->out, damage->path, strlen(damage->path));
    if (damage->offset != DAMAGE_NOWHERE)
        fprintf(printer->out, ", \"offset\": %" PRIu64, damage->offset);
    fputs(", \"what\": ", printer->out);
    cli_print_json_string(printer->out, damage->what, strlen(damage->what));
    fprintf(printer->out, ", \"harmless\": %s}", damage->harmless ? "true" : "false");
}

static void report(void *arg, const struct damage *damage)
{
    struct cli_damage *printer = arg;

    if (printer->json) {
        print_json(printer, damage);
        return;
    }
    fprintf(printer->out, "%s%s: ", damage->harmless ? "note: " : "", damage->path);
    if (damage->offset != DAMAGE_NOWHERE)
        fprintf(printer->out, "offset %" PRIu64 ": ", damage->offset);
    fprintf(printer->out, "%s\n", damage->what);
}

void cli_damage_init(struct cli_damage *printer, FILE *out, bool json)
{
    *printer =
        (struct cli_damage){.sink = {.report = report, .arg = printer}, .out = out, .json = json};
}
