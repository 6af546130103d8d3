#include "client/wire/quote.h"

#include <string.h>

struct quote quote(struct slice bytes)
{
    struct quote quote;
    size_t kept = bytes.size;

    if (kept > QUOTE_MAX) {
        kept = QUOTE_MAX;
        while (kept > 0 && ((unsigned char)bytes.data[kept] & 0xc0) == 0x80)
            kept--;
    }
    for (size_t i = 0; i < kept; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];

        quote.text[i] = byte < 0x20 || byte == 0x7f ? '?' : bytes.data[i];
    }
    memcpy(quote.text + kept, kept < bytes.size ? "..." : "", kept < bytes.size ? 4 : 1);
    return quote;
}
