/*
 * Frames out of a stream of bytes, however it is cut, and never more memory than allowed.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "replication/frame_reader.h"
#include "storage/base/bytes.h"
#include "tests/support/seed.h"

struct seen {
    uint32_t count;
    uint16_t types[64];
    uint32_t sizes[64];
    enum err answer;
};

static uint8_t byte_of(uint16_t type, size_t at)
{
    return (uint8_t)(type * 37 + at * 11 + (at >> 8));
}

static void put(struct bytes *out, uint16_t type, uint16_t flags, uint64_t request, size_t from,
                size_t size)
{
    struct frame_header header = {.type = type, .flags = flags, .request = request};
    uint8_t *payload = malloc(size + 1);

    cr_assert_not_null(payload);
    for (size_t i = 0; i < size; i++)
        payload[i] = byte_of(type, from + i);
    frame_seal(&header, payload, size);
    bytes_put(out, &header, sizeof header);
    bytes_put(out, payload, size);
    free(payload);
}

static enum err frame(void *arg, const struct frame_header *header, const uint8_t *bytes,
                      struct buf *payload)
{
    struct seen *seen = arg;

    if (payload != NULL) {
        cr_assert_eq(payload->bytes, bytes);
        cr_assert_eq(payload->size, header->size);
    }
    for (size_t i = 0; i < header->size; i++)
        cr_assert_eq(bytes[i], byte_of(header->type, i));
    cr_assert_lt(seen->count, 64);
    seen->types[seen->count] = header->type;
    seen->sizes[seen->count++] = header->size;
    return seen->answer;
}

/* Feed in cuts of random size, into the reader's own room where it offers one. */
static enum err feed(struct frame_reader *reader, const struct bytes *bytes, uint64_t *seed,
                     size_t cut_max, struct seen *seen)
{
    size_t at = 0;
    enum err err = ERR_OK;

    while (at < bytes->size && err == ERR_OK) {
        size_t cut = 1 + (size_t)seed_below(seed, cut_max);
        uint8_t *room;
        size_t room_size;

        if (cut > bytes->size - at)
            cut = bytes->size - at;
        if (frame_reader_room(reader, &room, &room_size)) {
            cut = cut < room_size ? cut : room_size;
            memcpy(room, bytes->data + at, cut);
            err = frame_reader_feed(reader, room, cut, frame, seen);
        } else {
            err = frame_reader_feed(reader, bytes->data + at, cut, frame, seen);
        }
        at += cut;
    }
    return err;
}

Test(frame_reader, finds_all_frames_however_the_bytes_are_cut)
{
    uint64_t seed = seed_of_run("frame_reader");

    for (int run = 0; run < 300; run++) {
        struct frame_reader reader = {.payload_max = FRAME_PAYLOAD_MAX};
        struct seen seen = {0};
        struct bytes bytes = {0};

        put(&bytes, 1, 0, 0, 0, 0);
        put(&bytes, 2, 0, 7, 0, 100);
        put(&bytes, 3, FRAME_MORE, 1, 0, 70000); /* In three pieces, others in between. */
        put(&bytes, 3, 0, 0, 0, 10);
        put(&bytes, 3, FRAME_MORE, 1, 70000, 50000);
        put(&bytes, 4, 0, 1, 0, 40000);
        put(&bytes, 3, 0, 1, 120000, 5);
        put(&bytes, 5, 0, 0, 0, 1);
        cr_assert_eq(feed(&reader, &bytes, &seed, run % 2 == 0 ? 100 : 60000, &seen), ERR_OK);
        cr_assert_eq(seen.count, 6);
        cr_assert_eq(seen.types[2], 3);
        cr_assert_eq(seen.sizes[2], 10);
        cr_assert_eq(seen.types[4], 3);
        cr_assert_eq(seen.sizes[4], 120005);
        cr_assert_eq(seen.types[5], 5);
        frame_reader_fini(&reader);
        bytes_fini(&bytes);
    }
}

Test(frame_reader, refuses_every_flipped_bit)
{
    struct bytes bytes = {0};
    uint64_t seed = 1;

    put(&bytes, 9, 0, 3, 0, 60);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        struct frame_reader reader = {.payload_max = 1000};
        struct seen seen = {0};
        enum err err;

        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        err = feed(&reader, &bytes, &seed, bytes.size, &seen);
        cr_assert_eq(seen.count, 0, "bit %zu", bit);
        /* A size that grew is still waited for; all else is an error. */
        cr_assert(err != ERR_OK || reader.payload != NULL || reader.head_size > 0);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        frame_reader_fini(&reader);
    }
    bytes_fini(&bytes);
}

Test(frame_reader, takes_no_more_than_its_limit_whole_or_in_pieces)
{
    struct frame_reader reader = {.payload_max = 1000};
    struct seen seen = {0};
    struct bytes bytes = {0};
    uint64_t seed = 1;

    put(&bytes, 1, 0, 0, 0, 1001);
    cr_assert_eq(feed(&reader, &bytes, &seed, 24, &seen), ERR_TOO_LARGE);
    cr_assert_null(reader.payload);
    frame_reader_fini(&reader);

    reader = (struct frame_reader){.payload_max = 1000};
    bytes_clear(&bytes);
    put(&bytes, 1, FRAME_MORE, 0, 0, 600);
    put(&bytes, 1, FRAME_MORE, 0, 600, 600);
    cr_assert_eq(feed(&reader, &bytes, &seed, 5000, &seen), ERR_TOO_LARGE);
    frame_reader_fini(&reader);
    cr_assert_eq(seen.count, 0);
    bytes_fini(&bytes);
}

Test(frame_reader, refuses_pieces_of_two_frames_mixed_and_empty_ones)
{
    struct frame_reader reader = {.payload_max = 1000};
    struct seen seen = {0};
    struct bytes bytes = {0};
    uint64_t seed = 1;

    put(&bytes, 1, FRAME_MORE, 0, 0, 10);
    put(&bytes, 2, FRAME_MORE, 0, 0, 10);
    cr_assert_eq(feed(&reader, &bytes, &seed, 5000, &seen), ERR_INVALID);
    frame_reader_fini(&reader);

    reader = (struct frame_reader){.payload_max = 1000};
    bytes_clear(&bytes);
    put(&bytes, 1, FRAME_MORE, 0, 0, 0);
    cr_assert_eq(feed(&reader, &bytes, &seed, 5000, &seen), ERR_INVALID);
    frame_reader_fini(&reader);
    bytes_fini(&bytes);
}

Test(frame_reader, ends_with_the_error_of_the_callback)
{
    struct frame_reader reader = {.payload_max = 1000};
    struct seen seen = {.answer = ERR_CANCELED};
    struct bytes bytes = {0};
    uint64_t seed = 1;

    put(&bytes, 1, 0, 0, 0, 10);
    put(&bytes, 2, 0, 0, 0, 10);
    cr_assert_eq(feed(&reader, &bytes, &seed, 1, &seen), ERR_CANCELED);
    cr_assert_eq(seen.count, 1);
    frame_reader_fini(&reader);
    bytes_fini(&bytes);
}
