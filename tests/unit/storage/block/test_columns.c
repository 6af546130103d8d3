/*
 * Results: built row by row, appended, sent and read back.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/column_string.h"
#include "storage/block/columns.h"
#include "tests/support/seed.h"

static struct slice text_slice(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static uint32_t add_column(struct columns *columns, const char *name, enum column_kind kind,
                           enum field_type type)
{
    uint32_t at;

    cr_assert_eq(columns_column(columns, text_slice(name), kind, type, &at), ERR_OK, "%s",
                 err_detail());
    return at;
}

/* A time, a tag and some fields, every other value absent at random. */
static void fill(struct columns *columns, uint64_t *state, uint32_t rows, uint32_t fields)
{
    uint32_t time = add_column(columns, "time", COLUMN_TIME, FIELD_INT);
    uint32_t tag = add_column(columns, "host", COLUMN_TAG, FIELD_STRING);

    for (uint32_t row = 0; row < rows; row++) {
        char text[32];

        cr_assert_eq(columns_row(columns), ERR_OK, "%s", err_detail());
        columns_set(columns, time, row * 1000);
        cr_assert_eq(columns_set_string(columns, tag, text,
                                        (size_t)snprintf(text, sizeof text, "host%u", row / 10)),
                     ERR_OK);
        for (uint32_t field = 0; field < fields; field++) {
            enum field_type type = (enum field_type)(1 + field % (FIELD_TYPE_END - 1));
            uint64_t number = seed_next(state);
            uint32_t at;

            if (number % 3 == 0)
                continue;
            (void)snprintf(text, sizeof text, "f%u", field);
            at = add_column(columns, text, COLUMN_FIELD, type);
            if (type == FIELD_STRING)
                cr_assert_eq(columns_set_string(columns, at, text, number % 3), ERR_OK);
            else
                columns_set(columns, at, type == FIELD_BOOL ? number & 1 : number);
        }
    }
}

static void check_same(const struct columns *a, uint32_t from, const struct columns *b,
                       uint32_t rows)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const struct column *right = &b->columns[i];
        const struct column *left = a->columns;

        while (strcmp(left->name, right->name) != 0)
            left++;
        cr_assert_eq(left->kind, right->kind);
        cr_assert_eq(left->type, right->type);
        for (uint32_t row = 0; row < rows; row++) {
            uint64_t x = left->values[from + row], y = right->values[row];

            cr_assert_eq(left->present[from + row], right->present[row]);
            if (!right->present[row])
                continue;
            if (right->type != FIELD_STRING) {
                cr_assert_eq(x, y);
                continue;
            }
            cr_assert_eq(column_string_size(x), column_string_size(y));
            if (column_string_size(x) > 0)
                cr_assert_eq(memcmp(left->text.data + column_string_offset(x),
                                    right->text.data + column_string_offset(y),
                                    column_string_size(x)),
                             0);
        }
    }
}

static void decode(const struct bytes *bytes, struct columns *ret_columns)
{
    uint8_t *exact = malloc(bytes->size);

    cr_assert_not_null(exact);
    memcpy(exact, bytes->data, bytes->size);
    cr_assert_eq(columns_decode(exact, bytes->size, ret_columns), ERR_OK, "%s", err_detail());
    free(exact); /* Nothing is borrowed from it. */
}

Test(columns, are_filled_again_in_the_same_memory_once_cleared)
{
    struct columns columns = {0};
    uint32_t value, text;
    size_t bytes;

    cr_assert_eq(columns_column(&columns, (struct slice){"v", 1}, COLUMN_FIELD, FIELD_INT, &value),
                 ERR_OK);
    cr_assert_eq(
        columns_column(&columns, (struct slice){"s", 1}, COLUMN_FIELD, FIELD_STRING, &text),
        ERR_OK);
    cr_assert_eq(columns_reserve(&columns, 100), ERR_OK);
    cr_assert_eq(columns.rows, 0);
    cr_assert_geq(columns.capacity, 100);
    cr_assert_eq(columns_row(&columns), ERR_OK);
    columns_set(&columns, value, 7);
    cr_assert_eq(columns_set_string(&columns, text, "abc", 3), ERR_OK);
    bytes = columns_bytes(&columns);
    columns_clear(&columns);
    cr_assert_eq(columns.count, 2);
    cr_assert_eq(columns.rows, 0);
    cr_assert_eq(columns_row(&columns), ERR_OK);
    cr_assert_eq(columns.columns[value].present[0], 0);
    cr_assert_eq(columns_set_string(&columns, text, "de", 2), ERR_OK);
    cr_assert_eq(columns.columns[text].text.size, 2);
    cr_assert_eq(columns_bytes(&columns), bytes);
    columns_fini(&columns);
}

Test(columns, come_back_from_their_bytes)
{
    static const uint32_t sizes[] = {0, 1, 63, 64, 65, 1000, 3000};
    uint64_t state = seed_of_run("columns");

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct columns columns = {0}, back;
        struct bytes bytes = {0};

        fill(&columns, &state, sizes[i], 12);
        (void)add_column(&columns, "never", COLUMN_FIELD, FIELD_STRING);
        columns_encode(&columns, &bytes);
        cr_assert(!bytes.failed);
        decode(&bytes, &back);
        cr_assert_eq(back.rows, columns.rows);
        cr_assert_eq(back.count, columns.count);
        check_same(&columns, 0, &back, back.rows);
        cr_assert_geq(columns_bytes(&columns), columns.rows * columns.count * 9);
        bytes_fini(&bytes);
        columns_fini(&columns);
        columns_fini(&back);
    }
}

Test(columns, a_decoded_result_grows_like_any_other)
{
    uint64_t state = seed_of_run("columns");
    struct columns columns = {0}, back;
    struct bytes bytes = {0};

    fill(&columns, &state, 100, 5);
    columns_encode(&columns, &bytes);
    decode(&bytes, &back);
    fill(&back, &state, 100, 8);
    cr_assert_eq(back.rows, 200);
    check_same(&back, 0, &columns, 100);
    bytes_fini(&bytes);
    columns_fini(&columns);
    columns_fini(&back);
}

Test(columns, append_matches_columns_by_name_and_kind)
{
    uint64_t state = seed_of_run("columns");
    struct columns all = {0}, parts[3] = {{0}, {0}, {0}};
    uint32_t rows = 0;

    fill(&parts[0], &state, 70, 3);
    (void)add_column(&parts[1], "only here", COLUMN_FIELD, FIELD_UINT);
    fill(&parts[1], &state, 200, 9);
    fill(&parts[2], &state, 1, 12);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(columns_append(&all, &parts[i]), ERR_OK, "%s", err_detail());
        check_same(&all, rows, &parts[i], parts[i].rows);
        rows += parts[i].rows;
        cr_assert_eq(all.rows, rows);
    }
    check_same(&all, 0, &parts[0], parts[0].rows);
    for (int i = 0; i < 3; i++)
        columns_fini(&parts[i]);
    columns_fini(&all);
}

Test(columns, append_refuses_another_type_and_keeps_the_rows)
{
    struct columns a = {0}, b = {0};
    uint32_t at = add_column(&a, "x", COLUMN_FIELD, FIELD_INT);

    cr_assert_eq(columns_row(&a), ERR_OK);
    columns_set(&a, at, 7);
    (void)add_column(&b, "x", COLUMN_FIELD, FIELD_FLOAT);
    cr_assert_eq(columns_row(&b), ERR_OK);
    cr_assert_eq(columns_append(&a, &b), ERR_TYPE_CONFLICT);
    cr_assert_eq(a.rows, 1);
    cr_assert_eq(a.columns[at].values[0], 7);
    columns_fini(&a);
    columns_fini(&b);
}

Test(columns, refuses_too_many_columns_and_rows)
{
    struct columns columns = {0};
    uint32_t at;

    for (uint32_t i = 0; i < COLUMNS_MAX; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "c%u", i);
        (void)add_column(&columns, name, COLUMN_FIELD, FIELD_INT);
    }
    cr_assert_eq(columns_column(&columns, text_slice("more"), COLUMN_FIELD, FIELD_INT, &at),
                 ERR_LIMIT);
    columns_fini(&columns);
    for (uint32_t i = 0; i < COLUMNS_ROWS_MAX; i++)
        cr_assert_eq(columns_row(&columns), ERR_OK);
    cr_assert_eq(columns_row(&columns), ERR_LIMIT);
    columns_fini(&columns);
}

/* Nothing but an error may come of damage; under a sanitizer this walks every length check. */
Test(columns, decode_stays_inside_damaged_bytes)
{
    uint64_t state = seed_of_run("columns");
    struct columns columns = {0};
    struct bytes bytes = {0};

    fill(&columns, &state, 40, 10);
    columns_encode(&columns, &bytes);
    for (size_t kept = 0; kept < bytes.size; kept++) {
        uint8_t *part = malloc(kept + 1);
        struct columns back;

        cr_assert_not_null(part);
        memcpy(part + 1, bytes.data, kept);
        cr_assert_eq(columns_decode(part + 1, kept, &back), ERR_INVALID, "%zu bytes", kept);
        free(part);
    }
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        struct columns back;
        enum err err;

        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        err = columns_decode(bytes.data, bytes.size, &back);
        cr_assert(err == ERR_OK || err == ERR_INVALID || err == ERR_TYPE_CONFLICT, "%s",
                  err_name(err));
        if (err == ERR_OK)
            columns_fini(&back);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bytes_fini(&bytes);
    columns_fini(&columns);
}

Test(columns, decode_bounds_its_memory_before_taking_it)
{
    struct bytes bytes = {0};
    struct columns back;

    bytes_put_u8(&bytes, 1);
    bytes_put_varint(&bytes, COLUMNS_MAX);
    bytes_put_varint(&bytes, COLUMNS_ROWS_MAX);
    cr_assert_eq(columns_decode(bytes.data, bytes.size, &back), ERR_INVALID);
    bytes_fini(&bytes);
}
