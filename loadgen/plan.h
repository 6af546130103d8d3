/*
 * plan.h - what one run of the load generator is to do: the options, checked.
 */
#ifndef LOADGEN_PLAN_H
#define LOADGEN_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum plan_workload { WORKLOAD_RANDOM, WORKLOAD_ROWS, WORKLOAD_TSBS, WORKLOAD_REPLAY };

enum { PLAN_CONNECTIONS_MAX = 256, PLAN_FIELDS_MAX = 256, PLAN_NODES_MAX = 9 };

struct plan {
    const char *nodes; /* "HOST:PORT,...": native ports. */
    const char *database;
    bool http; /* Line protocol over HTTP, at the nodes' HTTP ports. */
    enum plan_workload workload;
    const char *replay; /* File of line protocol. */
    uint32_t series;
    uint32_t fields;
    uint32_t batch; /* Rows of a request. */
    uint32_t connections;
    uint64_t rate; /* Rows/s of all connections together; 0: as fast as acknowledged. */
    double duration_s;
    uint64_t seed;
    bool verify;
    bool quiet;       /* No progress lines. */
    const char *json; /* File for the summary; NULL: none; "-": standard output. */
};

/** Read the command line. -1: go on; else the exit code (help was printed, or what is wrong). */
int plan_parse(int argc, char **argv, struct plan *ret_plan);

const char *plan_workload_name(enum plan_workload workload);

#endif
