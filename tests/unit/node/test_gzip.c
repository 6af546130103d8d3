/*
 * Inflating: the same bytes however they are cut, damage noticed, bombs stopped.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "node/gzip.h"
#include "storage/base/bytes.h"

static void deflate_to(struct bytes *out, const void *data, size_t size)
{
    z_stream stream = {0};
    uint8_t *room;

    cr_assert_eq(deflateInit2(&stream, 9, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    room = bytes_add(out, deflateBound(&stream, size));
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    stream.next_out = room;
    stream.avail_out = (uInt)deflateBound(&stream, size);
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->size -= stream.avail_out;
    (void)deflateEnd(&stream);
}

/* Inflate in pieces of `piece` into room of `room` bytes. */
static enum err inflate_all(const struct bytes *in, size_t piece, size_t room, uint64_t out_max,
                            struct bytes *out)
{
    struct gzip *gzip;
    size_t at = 0;
    enum err err;

    cr_assert_eq(gzip_new(out_max, &gzip), ERR_OK);
    do {
        size_t end = in->size - at < piece ? in->size : at + piece;
        size_t used, size;

        do {
            char text[4096];

            err = gzip_step(gzip, in->data + at, end - at, text, room, &used, &size);
            if (err != ERR_OK)
                goto out;
            cr_assert_leq(size, room);
            at += used;
            if (size > 0)
                bytes_put(out, text, size);
        } while (at < end || size == room);
    } while (at < in->size);
    err = gzip_end(gzip);
out:
    gzip_free(gzip);
    return err;
}

static struct bytes sample(size_t size)
{
    struct bytes bytes = {0};

    for (size_t i = 0; i < size; i++)
        bytes_put_u8(&bytes, (uint8_t)(i * i >> 7));
    return bytes;
}

Test(gzip, gives_the_same_however_it_is_cut)
{
    static const size_t sizes[] = {1, 2, 3, 7, 100, 4096};
    struct bytes text = sample(10000), packed = {0};

    deflate_to(&packed, text.data, text.size);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            struct bytes out = {0};

            cr_assert_eq(inflate_all(&packed, sizes[i], sizes[j], 10000, &out), ERR_OK, "%s",
                         err_detail());
            cr_assert_eq(out.size, text.size);
            cr_assert_eq(memcmp(out.data, text.data, text.size), 0);
            bytes_fini(&out);
        }
    }
    bytes_fini(&text);
    bytes_fini(&packed);
}

Test(gzip, takes_several_members_as_one_body)
{
    struct bytes packed = {0}, out = {0};

    deflate_to(&packed, "one ", 4);
    deflate_to(&packed, "", 0);
    deflate_to(&packed, "two", 3);
    cr_assert_eq(inflate_all(&packed, 5, 100, 7, &out), ERR_OK, "%s", err_detail());
    cr_assert_eq(out.size, 7);
    cr_assert_eq(memcmp(out.data, "one two", 7), 0);
    bytes_fini(&packed);
    bytes_fini(&out);
}

Test(gzip, stops_at_the_allowed_size)
{
    struct bytes text = sample(10000), packed = {0}, out = {0};

    deflate_to(&packed, text.data, text.size);
    cr_assert_eq(inflate_all(&packed, 4096, 1000, 9999, &out), ERR_TOO_LARGE);
    cr_assert_leq(out.size, 9999);
    bytes_fini(&text);
    bytes_fini(&packed);
    bytes_fini(&out);
}

Test(gzip, notices_every_flipped_byte_and_every_cut)
{
    struct bytes text = sample(300), packed = {0};

    deflate_to(&packed, text.data, text.size);
    for (size_t i = 0; i < packed.size; i++) {
        struct bytes out = {0};
        enum err err;

        packed.data[i] ^= 0x55;
        err = inflate_all(&packed, 4096, 4096, 1000, &out);
        /* Flags and name fields of the header are not checked by anything: text has to be right. */
        cr_assert(err == ERR_INVALID || err == ERR_TOO_LARGE ||
                      (out.size == text.size && memcmp(out.data, text.data, text.size) == 0),
                  "byte %zu", i);
        packed.data[i] ^= 0x55;
        bytes_fini(&out);
    }
    for (size_t size = packed.size - 1; size > 0; size--) {
        struct bytes out = {0};

        packed.size = size;
        cr_assert_eq(inflate_all(&packed, 4096, 4096, 1000, &out), ERR_INVALID, "%zu", size);
        bytes_fini(&out);
    }
    bytes_fini(&text);
    bytes_fini(&packed);
}

Test(gzip, refuses_what_follows_the_last_member)
{
    struct bytes packed = {0}, out = {0};

    deflate_to(&packed, "one", 3);
    bytes_put(&packed, "trailing", 8);
    cr_assert_eq(inflate_all(&packed, 4096, 4096, 1000, &out), ERR_INVALID);
    bytes_fini(&packed);
    bytes_fini(&out);
}

Test(gzip, refuses_an_empty_body)
{
    struct gzip *gzip;

    cr_assert_eq(gzip_new(10, &gzip), ERR_OK);
    cr_assert_eq(gzip_end(gzip), ERR_INVALID);
    gzip_free(gzip);
    gzip_free(NULL);
}
