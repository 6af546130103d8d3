/*
 * line_write.h - rows back to line protocol, so that line_protocol.h reads the same rows again.
 *
 *     line_write_head()  line_write_field()...  line_write_time()
 *     table,tag=value     field=1.5,note="x"     1700000000000000000\n
 *
 * What the text has no words for is refused, not bent: NaN and infinities; names and tag values
 * with control bytes or a backslash at their end; tables that begin with #.
 */
#ifndef CLIENT_WIRE_LINE_WRITE_H
#define CLIENT_WIRE_LINE_WRITE_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/base/types.h"

/** Append table and tags. False, and nothing appended: they cannot be said. */
bool line_write_head(struct slice table, const struct tag *tags, size_t tag_count,
                     struct bytes *out);

/** Append a field, behind a blank if it is the line's first one, else a comma; bits as in
 * block_builder_value(), `text` for FIELD_STRING. False, and nothing appended: it cannot be
 * said. */
bool line_write_field(bool first, struct slice name, enum field_type type, uint64_t bits,
                      struct slice text, struct bytes *out);

/** Append the time in ns and the line's end. */
void line_write_time(int64_t time_ns, struct bytes *out);

#endif
