/*
 * Frames: what was sealed is accepted, and every flipped bit is noticed.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "client/wire/frame.h"

static const char payload[] = "cpu,host=a user=1.5";

static struct frame_header sealed(void)
{
    struct frame_header header = {.type = FRAME_WRITE, .flags = FRAME_MORE, .request = 77};

    frame_seal(&header, payload, sizeof payload);
    return header;
}

Test(frame, accepts_what_was_sealed)
{
    struct frame_header header = sealed(), back;

    cr_assert_eq(frame_check_header(&header, &back), ERR_OK);
    cr_assert_eq(frame_check_payload(&back, payload), ERR_OK);
    cr_assert_eq(back.type, FRAME_WRITE);
    cr_assert_eq(back.flags, FRAME_MORE);
    cr_assert_eq(back.request, 77);
    cr_assert_eq(back.size, sizeof payload);
}

Test(frame, may_be_empty)
{
    struct frame_header header = {.type = FRAME_PING}, back;

    frame_seal(&header, NULL, 0);
    cr_assert_eq(frame_check_header(&header, &back), ERR_OK);
    cr_assert_eq(frame_check_payload(&back, NULL), ERR_OK);
}

/* The layout is what strangers implement: these bytes never change. */
Test(frame, has_the_documented_bytes)
{
    static const uint8_t expected[20] = {'M', 'R', 'F', '1', /* crc: below */
                                         20,  0,   0,   0,   10, 0, 1, 0, 77, 0, 0, 0, 0, 0, 0, 0};
    struct frame_header header = sealed();
    uint8_t bytes[sizeof header];

    memcpy(bytes, &header, sizeof header);
    cr_assert_arr_eq(bytes, expected, 4);
    cr_assert_arr_eq(bytes + 8, expected + 4, 16);
}

Test(frame, notices_every_flipped_bit)
{
    uint8_t bytes[sizeof(struct frame_header) + sizeof payload];
    struct frame_header header = sealed();

    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, payload, sizeof payload);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        struct frame_header back;
        enum err err;

        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        err = frame_check_header(bytes, &back);
        /* A changed size is found with the payload that the header asks for. */
        if (err == ERR_OK && back.size <= sizeof payload)
            err = frame_check_payload(&back, bytes + sizeof header);
        else if (err == ERR_OK)
            err = ERR_END;
        cr_assert_neq(err, ERR_OK, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(frame, refuses_other_protocols_and_huge_sizes)
{
    struct frame_header header = sealed(), back;

    cr_assert_eq(frame_check_header("GET / HTTP/1.1\r\nHost: site\r\n", &back), ERR_INVALID);
    cr_assert(strstr(err_detail(), "native protocol") != NULL);

    header.size = FRAME_PAYLOAD_MAX;
    cr_assert_eq(frame_check_header(&header, &back), ERR_OK);
    header.size = FRAME_PAYLOAD_MAX + 1;
    cr_assert_eq(frame_check_header(&header, &back), ERR_TOO_LARGE);
}

Test(frame, refuses_unknown_flags)
{
    struct frame_header header = {.type = FRAME_PING, .flags = 2}, back;

    frame_seal(&header, NULL, 0);
    cr_assert_eq(frame_check_header(&header, &back), ERR_INVALID);
}
