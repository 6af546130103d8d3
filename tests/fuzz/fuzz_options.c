/*
 * Configuration files from anybody. What is accepted is printed, and that has to be accepted with
 * the same result.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/options.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct options *options, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);

    CHECK(out != NULL);
    CHECK(options_print(options, out) == ERR_OK);
    (void)fclose(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct options options, again;
    size_t text_size, text_again_size;
    char *text, *text_again;

    if (options_parse(&options, "fuzz", (const char *)data, size) != ERR_OK)
        return 0;
    text = print(&options, &text_size);
    CHECK(options_parse(&again, "printed", text, text_size) == ERR_OK);
    text_again = print(&again, &text_again_size);
    CHECK(text_size == text_again_size);
    CHECK(memcmp(text, text_again, text_size) == 0);
    free(text);
    free(text_again);
    return 0;
}
