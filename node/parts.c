#include "node/parts.h"

#include "node/ingest_internal.h"
#include "node/native.h"
#include "node/query.h"

enum err parts_open(struct worker *worker)
{
    enum err err = ingest_new(worker, &worker->ingest);

    if (err == ERR_OK)
        err = native_new(worker, &worker->native);
    return err;
}

void parts_flush(struct worker *worker)
{
    ingest_flush(worker->ingest);
    native_flush(worker->native);
}

void parts_tick(struct worker *worker, uint64_t now_ms)
{
    query_tick(worker, now_ms);
    native_tick(worker->native, now_ms);
}

void parts_stop_taking(struct worker *worker)
{
    native_stop_listening(worker->native);
}

void parts_close(struct worker *worker, void (*closed)(struct worker *worker))
{
    worker->closing++;
    native_close(worker->native, closed);
}

void parts_fini(struct worker *worker)
{
    if (worker->ingest != NULL)
        ingest_free(worker->ingest);
}
