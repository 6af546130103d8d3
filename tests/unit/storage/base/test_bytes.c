/*
 * Writing and reading back; and reading bytes that end early, lie about sizes, or go on too long.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "storage/base/bytes.h"

static void write_one_of_each(struct bytes *out)
{
    bytes_put_u8(out, 0xa1);
    bytes_put_u16(out, 0xb1b2);
    bytes_put_u32(out, 0xc1c2c3c4);
    bytes_put_u64(out, 0xd1d2d3d4d5d6d7d8);
    bytes_put_varint(out, 300);
    bytes_put_string(out, "name", 4);
    bytes_put(out, "", 0);
}

Test(bytes, come_back_as_they_were_written)
{
    struct bytes out = {0};
    struct reader reader;
    size_t size;

    write_one_of_each(&out);
    reader = reader_on(out.data, out.size);
    cr_assert_eq(reader_u8(&reader), 0xa1);
    cr_assert_eq(reader_u16(&reader), 0xb1b2);
    cr_assert_eq(reader_u32(&reader), 0xc1c2c3c4);
    cr_assert_eq(reader_u64(&reader), 0xd1d2d3d4d5d6d7d8);
    cr_assert_eq(reader_varint(&reader), 300);
    cr_assert(!reader_done(&reader));
    cr_assert_arr_eq(reader_string(&reader, 4, &size), "name", 4);
    cr_assert_eq(size, 4);
    cr_assert(reader_done(&reader));
    bytes_fini(&out);
}

Test(bytes, are_little_endian)
{
    struct bytes out = {0};

    bytes_put_u32(&out, 0x04030201);
    cr_assert_arr_eq(out.data, "\1\2\3\4", 4);
    bytes_fini(&out);
}

Test(bytes, grow_and_keep_what_they_hold)
{
    struct bytes out = {0};

    for (uint32_t i = 0; i < 100000; i++)
        bytes_put_u32(&out, i);
    cr_assert_eq(out.size, 400000);
    for (uint32_t i = 0; i < 100000; i++)
        cr_assert_eq(memcmp(out.data + 4 * (size_t)i, &i, 4), 0);
    bytes_clear(&out);
    cr_assert_eq(out.size, 0);
    bytes_fini(&out);
    cr_assert_null(out.data);
}

Test(bytes, refuse_a_size_that_no_memory_has_and_stay_refused)
{
    struct bytes out = {0};

    bytes_put_u8(&out, 1);
    cr_assert_null(bytes_add(&out, SIZE_MAX));
    cr_assert(out.failed);
    bytes_put_u8(&out, 2);
    cr_assert_eq(out.size, 1);
    bytes_clear(&out);
    bytes_put_u8(&out, 3);
    cr_assert(!out.failed);
    cr_assert_eq(out.data[0], 3);
    bytes_fini(&out);
}

Test(bytes, every_cut_is_noticed_and_reads_as_nothing)
{
    struct bytes out = {0};

    write_one_of_each(&out);
    for (size_t cut = 0; cut < out.size; cut++) {
        struct reader reader = reader_on(out.data, cut);
        size_t size;

        (void)reader_u8(&reader);
        (void)reader_u16(&reader);
        (void)reader_u32(&reader);
        (void)reader_u64(&reader);
        (void)reader_varint(&reader);
        (void)reader_string(&reader, 4, &size);
        cr_assert(reader.bad, "cut at %zu", cut);
        cr_assert(!reader_done(&reader));
        cr_assert_eq(size, 0);
        cr_assert_eq(reader_left(&reader), 0);
        cr_assert_eq(reader_u64(&reader), 0);
        cr_assert_null(reader_take(&reader, 1));
    }
    bytes_fini(&out);
}

Test(bytes, a_string_over_its_limit_is_bad_even_if_it_is_there)
{
    struct bytes out = {0};
    struct reader reader;
    size_t size = 99;

    bytes_put_string(&out, "name", 4);
    reader = reader_on(out.data, out.size);
    cr_assert_str_empty(reader_string(&reader, 3, &size));
    cr_assert_eq(size, 0);
    cr_assert(reader.bad);
    bytes_fini(&out);
}

Test(bytes, a_lying_size_is_not_believed)
{
    /* A varint of 2^64 - 1, then four bytes. */
    static const uint8_t lie[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1abcd";
    struct reader reader = reader_on(lie, sizeof lie - 1);
    size_t size;

    (void)reader_string(&reader, SIZE_MAX, &size);
    cr_assert(reader.bad);
    reader = reader_on(lie, sizeof lie - 1);
    cr_assert_null(reader_take(&reader, SIZE_MAX));
    cr_assert(reader.bad);
}
