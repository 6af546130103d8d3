/* A block's header and directory: checked, and looked into without its body. */
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/block/block_reader.h"
#include "storage/block/pack.h"

enum { LZ4_RATIO_MAX = 255 }; /* No byte of an LZ4 block makes more bytes than this. */

/* What is wrong with a header whose checksum is right, or NULL. */
static const char *header_fault(const struct block_header *header, size_t size)
{
    if (header->version != BLOCK_VERSION)
        return "version (is this program too old?)";
    if (header->known > BLOCK_SERIES_MAX || header->fresh > BLOCK_SERIES_MAX - header->known)
        return "number of series";
    if (header->rows > BLOCK_ROWS_MAX || header->tables > BLOCK_TABLES_MAX ||
        header->tables > header->rows || (header->tables == 0) != (header->rows == 0))
        return "number of rows or tables";
    if (header->rows > 0 && header->known + header->fresh == 0)
        return "rows without series";
    if (header->points > (uint64_t)header->rows * FIELD_COUNT_MAX)
        return "number of points";
    if (header->time_min_ns > header->time_max_ns ||
        (header->rows == 0 && (header->time_min_ns != 0 || header->time_max_ns != 0)))
        return "time range";
    if ((uint64_t)sizeof *header + header->directory_size + header->body_size != size)
        return "sizes";
    if (header->body_raw_size > BLOCK_BODY_RAW_MAX || header->body_raw_size < header->body_size ||
        header->body_raw_size > (uint64_t)header->body_size * LZ4_RATIO_MAX ||
        (header->rows == 0 && header->body_raw_size != 0))
        return "body size";
    return NULL;
}

/* Find the directory's parts; false if it is too small for them. */
static bool find_directory(struct block_view *view, const uint8_t *directory)
{
    const struct block_header *header = &view->header;
    uint32_t groups = (header->known + BLOCK_ID_GROUP - 1) / BLOCK_ID_GROUP;
    struct reader reader = reader_on(directory, header->directory_size);

    if (header->known > 0)
        view->id_width = reader_u8(&reader);
    if (view->id_width > 32)
        return false;
    view->bases = reader_take(&reader, groups * sizeof(uint32_t));
    view->offsets = reader_take(&reader, pack_size(header->known, view->id_width));
    view->slots = reader_take(&reader, header->fresh * sizeof(uint32_t));
    view->keys = reader.at;
    view->body = directory + header->directory_size;
    return !reader.bad;
}

/* A group ends on a byte's border, so it can be unpacked alone. */
static_assert(BLOCK_ID_GROUP % 8 == 0, "so many of any width are whole bytes");

/* Known ids ascend. */
static bool ids_ascend(const struct block_view *view)
{
    uint32_t known = view->header.known, last = 0;

    for (uint32_t first = 0; first < known; first += BLOCK_ID_GROUP) {
        uint32_t count = known - first < BLOCK_ID_GROUP ? known - first : BLOCK_ID_GROUP;
        uint64_t offsets[BLOCK_ID_GROUP];
        uint32_t base;

        memcpy(&base, view->bases + first / BLOCK_ID_GROUP * sizeof base, sizeof base);
        pack_get(view->offsets + first / 8 * view->id_width, count, view->id_width, offsets);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t id = base + (uint32_t)offsets[i];

            if (id < last || id == BLOCK_ID_NONE)
                return false;
            last = id;
        }
    }
    return true;
}

/* Known ids ascend, fresh keys are canonical and fill the rest. */
static const char *directory_fault(const struct block_view *view)
{
    const struct block_header *header = &view->header;
    struct reader reader = reader_on(view->keys, (size_t)(view->body - view->keys));

    if (!ids_ascend(view))
        return "order of ids";
    for (uint32_t i = 0; i < header->fresh; i++) {
        struct key_parts parts;
        size_t size;
        const char *key = reader_string(&reader, KEY_SIZE_MAX, &size);

        if (reader.bad || key_parse(key, size, &parts) != 0)
            return "series key";
    }
    return reader_done(&reader) ? NULL : "directory size";
}

enum err block_view(const void *bytes, size_t size, bool verify_body, struct block_view *ret_view)
{
    struct block_view view = {.size = size};
    struct block_header *header = &view.header;
    const uint8_t *start = bytes;
    const char *fault;
    uint32_t crc;

    if (size < sizeof *header)
        return err_set(ERR_CORRUPT, "block: %zu bytes are no header of %zu", size, sizeof *header);
    memcpy(header, start, sizeof *header);
    if (header->magic != BLOCK_MAGIC)
        return err_set(ERR_CORRUPT, "block: magic is 0x%08x, not 0x%08x", header->magic,
                       BLOCK_MAGIC);
    crc = block_header_crc(header);
    if (crc != header->header_crc)
        return err_set(ERR_CORRUPT, "block: header checksum is 0x%08x, not 0x%08x", crc,
                       header->header_crc);
    fault = header_fault(header, size);
    if (fault != NULL)
        return err_set(ERR_CORRUPT, "block of %zu bytes, version %u: bad %s", size, header->version,
                       fault);
    crc = crc32c(0, start + sizeof *header, header->directory_size);
    if (crc != header->directory_crc)
        return err_set(ERR_CORRUPT, "block: directory checksum is 0x%08x, not 0x%08x", crc,
                       header->directory_crc);
    fault =
        find_directory(&view, start + sizeof *header) ? directory_fault(&view) : "size of parts";
    if (fault != NULL)
        return err_set(ERR_CORRUPT, "block: bad %s in the directory of %u ids and %u keys", fault,
                       header->known, header->fresh);
    if (verify_body) {
        crc = crc32c(0, view.body, header->body_size);
        if (crc != header->body_crc)
            return err_set(ERR_CORRUPT, "block: body checksum is 0x%08x, not 0x%08x", crc,
                           header->body_crc);
    }
    *ret_view = view;
    return ERR_OK;
}

struct block_view block_view_again(const void *bytes, size_t size)
{
    struct block_view view = {.size = size};

    memcpy(&view.header, bytes, sizeof view.header);
    CHECK(find_directory(&view, (const uint8_t *)bytes + sizeof view.header));
    return view;
}

uint32_t block_view_id_min(const struct block_view *view)
{
    uint32_t least = view->header.known > 0 ? block_view_id(view, 0) : UINT32_MAX;

    for (uint32_t i = 0; i < view->header.fresh; i++) {
        uint32_t id = block_view_id(view, view->header.known + i);

        least = id < least ? id : least;
    }
    return least;
}

uint32_t block_view_id_max(const struct block_view *view)
{
    uint32_t most = view->header.known > 0 ? block_view_id(view, view->header.known - 1) : 0;

    for (uint32_t i = 0; i < view->header.fresh; i++) {
        uint32_t id = block_view_id(view, view->header.known + i);

        most = id > most ? id : most;
    }
    return most;
}

/* The first known place whose id is not below `id`. */
static uint32_t find_known(const struct block_view *view, uint32_t id)
{
    uint32_t low = 0, high = view->header.known;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (block_view_id(view, middle) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_known(const struct block_view *view, uint32_t id)
{
    uint32_t place = find_known(view, id);

    return place < view->header.known && block_view_id(view, place) == id;
}

uint32_t block_view_find(const struct block_view *view, uint32_t id, uint32_t from)
{
    uint32_t known = view->header.known, places = known + view->header.fresh, place;

    if (from < known) {
        place = find_known(view, id);
        place = place < from ? from : place;
        if (place < known && block_view_id(view, place) == id)
            return place;
    }
    for (place = from < known ? known : from; place < places; place++)
        if (block_view_id(view, place) == id)
            return place;
    return places;
}

bool block_view_may_have(const struct block_view *view, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < view->header.fresh && count > 0; i++) {
        uint32_t id = block_view_id(view, view->header.known + i);

        if (id >= ids[0] && id <= ids[count - 1])
            return true;
    }
    for (uint32_t i = 0; i < count; i++)
        if (has_known(view, ids[i]))
            return true;
    return false;
}

bool block_view_next_key(const struct block_view *view, size_t *at, const char **ret_key,
                         size_t *ret_size)
{
    struct reader reader = reader_on(view->keys + *at, (size_t)(view->body - view->keys) - *at);

    if (reader_left(&reader) == 0)
        return false;
    *ret_key = reader_string(&reader, KEY_SIZE_MAX, ret_size);
    *at = (size_t)(reader.at - view->keys);
    return !reader.bad;
}

void block_stamp(void *bytes, struct block_view *view, const uint32_t *ids)
{
    struct block_header *header = &view->header;
    uint8_t *start = bytes;
    uint8_t *directory = start + sizeof *header;

    if (header->fresh > 0)
        memcpy(start + (view->slots - start), ids, header->fresh * sizeof *ids);
    header->directory_crc = crc32c(0, directory, header->directory_size);
    header->header_crc = block_header_crc(header);
    memcpy(bytes, header, sizeof *header);
}
