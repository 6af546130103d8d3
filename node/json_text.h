/*
 * json_text.h - strings from anybody as JSON: quoted, escaped, always valid UTF-8.
 *
 * Bodies of answers are written straight into struct bytes; all they need is this.
 */
#ifndef NODE_JSON_TEXT_H
#define NODE_JSON_TEXT_H

#include "storage/base/bytes.h"
#include "storage/base/types.h"

/** Append `text` in quotes. Bytes that are no UTF-8 become U+FFFD. */
void json_text_put(struct bytes *out, struct slice text);

/** Bytes of `text`, from its beginning on, that are UTF-8: one that was cut may end inside a
 * character. */
size_t json_text_valid(struct slice text);

#endif
