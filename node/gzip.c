#include "node/gzip.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

struct gzip {
    z_stream stream;
    uint64_t out_max;
    uint64_t out_total;
    bool between; /* A member ended and no byte of another was seen. */
};

enum err gzip_new(uint64_t out_max, struct gzip **ret_gzip)
{
    struct gzip *gzip = calloc(1, sizeof *gzip);

    /* 16: a gzip header and nothing else; 15: its largest window. */
    if (gzip == NULL || inflateInit2(&gzip->stream, 16 + 15) != Z_OK) {
        free(gzip);
        return err_set(ERR_NO_MEMORY, "no memory to inflate a body");
    }
    gzip->out_max = out_max;
    *ret_gzip = gzip;
    return ERR_OK;
}

void gzip_free(struct gzip *gzip)
{
    if (gzip == NULL)
        return;
    (void)inflateEnd(&gzip->stream);
    free(gzip);
}

enum err gzip_step(struct gzip *gzip, const void *in, size_t in_size, void *out, size_t room,
                   size_t *ret_used, size_t *ret_size)
{
    z_stream *stream = &gzip->stream;
    uint64_t allowed = gzip->out_max - gzip->out_total;
    uInt in_given = in_size < UINT_MAX ? (uInt)in_size : UINT_MAX;
    uInt out_given = room < UINT_MAX ? (uInt)room : UINT_MAX;
    bool capped = allowed < out_given;
    int code = Z_OK;

    /* One byte more than is allowed: to have it written is the proof of too much. */
    if (capped)
        out_given = (uInt)allowed + 1;
    stream->next_in = (z_const Bytef *)(uintptr_t)in;
    stream->avail_in = in_given;
    stream->next_out = out;
    stream->avail_out = out_given;
    for (;;) {
        if (gzip->between) {
            if (stream->avail_in == 0)
                break;
            (void)inflateReset(stream); /* Fails only if it was never set up. */
            gzip->between = false;
        }
        code = inflate(stream, Z_NO_FLUSH);
        if (code == Z_STREAM_END) {
            gzip->between = true;
            code = Z_OK;
        }
        if (code != Z_OK || stream->avail_in == 0 || stream->avail_out == 0)
            break;
    }
    if (code == Z_MEM_ERROR)
        return err_set(ERR_NO_MEMORY, "no memory to inflate a body");
    if (code != Z_OK && code != Z_BUF_ERROR)
        return err_set(ERR_INVALID, "the body is not gzip, or damaged after %" PRIu64 " bytes: %s",
                       gzip->out_total + (out_given - stream->avail_out),
                       stream->msg != NULL ? stream->msg : "bad data");
    gzip->out_total += out_given - stream->avail_out;
    if (gzip->out_total > gzip->out_max)
        return err_set(ERR_TOO_LARGE, "the body inflates to over %" PRIu64 " bytes", gzip->out_max);
    *ret_used = in_given - stream->avail_in;
    *ret_size = out_given - stream->avail_out;
    return ERR_OK;
}

enum err gzip_end(const struct gzip *gzip)
{
    if (!gzip->between)
        return err_set(ERR_INVALID, "the gzip body is cut short after %" PRIu64 " bytes",
                       gzip->out_total);
    return ERR_OK;
}
