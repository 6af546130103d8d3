#include "client/cli_site.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PORTS_A_NODE = 10, POLL_MS = 10, NAMES_MAX = 64 };

/* ---- Paths --------------------------------------------------------------------------------- */

enum err cli_site_init(struct cli_site *site, const char *dir)
{
    const char *given = getenv("MILLRACED");
    char self[CLI_SITE_PATH_MAX - NAMES_MAX];
    ssize_t size;

    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return err_set(ERR_IO, "make %s: %s", dir, strerror(errno));
    if (!realpath(dir, self) || strlen(self) >= sizeof self - NAMES_MAX)
        return err_set(ERR_IO, "%s: %s", dir, errno ? strerror(errno) : "the path is too long");
    snprintf(site->dir, sizeof site->dir, "%s", self);

    size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = '\0';
    if (strrchr(self, '/'))
        *strrchr(self, '/') = '\0';
    if (given && *given)
        snprintf(site->program, sizeof site->program, "%s", given);
    else
        snprintf(site->program, sizeof site->program, "%s/millraced", self);
    if (access(site->program, X_OK) != 0)
        return err_set(ERR_NOT_FOUND, "%s: %s; set MILLRACED to the path of millraced",
                       site->program, strerror(errno));
    return ERR_OK;
}

void cli_site_path(const struct cli_site *site, uint32_t node, const char *name,
                   char out[CLI_SITE_PATH_MAX])
{
    snprintf(out, CLI_SITE_PATH_MAX, "%.900s/node%u/%.32s", site->dir, (unsigned)node, name);
}

void cli_site_addresses(const struct cli_site *site, char out[CLI_SITE_PATH_MAX])
{
    size_t used = 0;

    for (uint32_t i = 0; i < site->nodes; i++)
        used += (size_t)snprintf(out + used, CLI_SITE_PATH_MAX - used, "%s127.0.0.1:%u",
                                 i ? "," : "", (unsigned)(site->base_port + PORTS_A_NODE * i));
}

/* ---- site.json ----------------------------------------------------------------------------- */

static void describe_path(const struct cli_site *site, char out[CLI_SITE_PATH_MAX])
{
    snprintf(out, CLI_SITE_PATH_MAX, "%.900s/site.json", site->dir);
}

enum err cli_site_save(const struct cli_site *site)
{
    char path[CLI_SITE_PATH_MAX];
    json_t *json =
        json_pack("{s:i, s:i, s:i, s:i}", "nodes", (int)site->nodes, "base_port",
                  (int)site->base_port, "shards", (int)site->shards, "workers", (int)site->workers);
    int failed;

    describe_path(site, path);
    failed = !json || json_dump_file(json, path, JSON_INDENT(2)) != 0;
    json_decref(json);
    return failed ? err_set(ERR_IO, "write %s: %s", path, strerror(errno)) : ERR_OK;
}

enum err cli_site_load(struct cli_site *site)
{
    char path[CLI_SITE_PATH_MAX];
    int nodes, base_port, shards, workers;
    json_error_t error;
    json_t *json;
    int bad;

    describe_path(site, path);
    if (access(path, F_OK) != 0)
        return err_set(ERR_NOT_FOUND, "there is no site in %s: millrace local up makes one",
                       site->dir);
    json = json_load_file(path, 0, &error);
    bad = json_unpack(json, "{s:i, s:i, s:i, s:i}", "nodes", &nodes, "base_port", &base_port,
                      "shards", &shards, "workers", &workers);
    json_decref(json);
    if (bad || nodes < 1 || nodes > CLI_SITE_NODES_MAX || base_port < 1 || base_port > UINT16_MAX ||
        shards < 1 || workers < 1)
        return err_set(ERR_INVALID, "%s makes no sense: remove it and run millrace local up", path);
    site->nodes = (uint32_t)nodes;
    site->base_port = (uint16_t)base_port;
    site->shards = (uint32_t)shards;
    site->workers = (uint32_t)workers;
    return ERR_OK;
}

/* ---- Processes ----------------------------------------------------------------------------- */

/* When a process started, in ticks since boot; 0 if there is none, or only its remains. */
static uint64_t start_ticks(pid_t pid)
{
    char path[64], text[1024];
    const char *at;
    uint64_t ticks = 0;
    size_t size;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    /* "PID (NAME) STATE ...": the name may hold blanks and brackets. Start is field 22. */
    at = strrchr(text, ')');
    if (!at || strlen(at) < 3 || at[2] == 'Z' || at[2] == 'X')
        return 0;
    at += 2;
    for (int field = 3; at && field < 22; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    if (at)
        ticks = strtoull(at, NULL, 10);
    return ticks;
}

pid_t cli_site_pid(const struct cli_site *site, uint32_t node)
{
    char path[CLI_SITE_PATH_MAX];
    uint64_t ticks = 0;
    int pid = 0;
    FILE *file;

    cli_site_path(site, node, "pid", path);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%d %" SCNu64, &pid, &ticks) != 2 || pid <= 1)
        pid = 0;
    fclose(file);
    /* If it is our own child (up, start), its remains have to be taken first. */
    if (pid > 0 && waitpid(pid, NULL, WNOHANG) == pid)
        return 0;
    return pid > 0 && start_ticks(pid) == ticks ? pid : 0;
}

static enum err write_pid(const struct cli_site *site, uint32_t node, pid_t pid)
{
    char path[CLI_SITE_PATH_MAX];
    bool failed;
    FILE *file;

    cli_site_path(site, node, "pid", path);
    file = fopen(path, "we");
    if (!file)
        return err_set(ERR_IO, "write %s: %s", path, strerror(errno));
    failed = fprintf(file, "%d %" PRIu64 "\n", (int)pid, start_ticks(pid)) < 0;
    failed |= fclose(file) != 0;
    return failed ? err_set(ERR_IO, "write %s: %s", path, strerror(errno)) : ERR_OK;
}

enum err cli_site_signal(const struct cli_site *site, uint32_t node, int number)
{
    pid_t pid = cli_site_pid(site, node);

    if (pid == 0)
        return err_set(ERR_NOT_FOUND, "node %u does not run", (unsigned)node);
    if (kill(pid, number) != 0)
        return err_set(ERR_IO, "signal node %u (pid %d): %s", (unsigned)node, (int)pid,
                       strerror(errno));
    return ERR_OK;
}

bool cli_site_wait_gone(const struct cli_site *site, uint32_t node, uint32_t timeout_ms)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

    for (uint32_t waited = 0; cli_site_pid(site, node) != 0; waited += POLL_MS) {
        if (waited >= timeout_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* ---- Starting ------------------------------------------------------------------------------ */

static enum err write_config(const struct cli_site *site, uint32_t node, const char *path)
{
    unsigned port = site->base_port + PORTS_A_NODE * node;
    FILE *file = fopen(path, "we");
    bool failed;

    if (!file)
        return err_set(ERR_IO, "write %s: %s", path, strerror(errno));
    fprintf(file,
            "# Written by millrace local at each start: changes here are lost.\n"
            "node:\n"
            "  id: %u\n"
            "  data_dir: \"%s/node%u/data\"\n"
            "cluster:\n"
            "  id: local\n"
            "  shards: %u\n"
            "  nodes:\n",
            (unsigned)node + 1, site->dir, (unsigned)node, (unsigned)site->shards);
    for (uint32_t i = 0; i < site->nodes; i++) {
        unsigned other = site->base_port + PORTS_A_NODE * i;

        fprintf(file,
                "    - {id: %u, host: 127.0.0.1, native_port: %u, http_port: %u, peer_port: %u}\n",
                (unsigned)i + 1, other, other + 1, other + 2);
    }
    fprintf(file,
            "listen:\n"
            "  host: 127.0.0.1\n"
            "  native_port: %u\n"
            "  http_port: %u\n"
            "  peer_port: %u\n"
            "  admin_host: 127.0.0.1\n"
            "  admin_port: %u\n"
            "workers: %u\n",
            port, port + 1, port + 2, port + 3, (unsigned)site->workers);
    failed = ferror(file) != 0;
    failed |= fclose(file) != 0;
    return failed ? err_set(ERR_IO, "write %s: %s", path, strerror(errno)) : ERR_OK;
}

/* In the child: become the node. */
static _Noreturn void become(const struct cli_site *site, const char *config, int log)
{
    int null = open("/dev/null", O_RDWR);
    sigset_t none;

    setsid(); /* A Ctrl-C here is not meant for the nodes. */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    unsetenv("MILLRACE_NODE"); /* Ours: where clients connect to. */
    execl(site->program, site->program, "--config", config, (char *)NULL);
    dprintf(STDERR_FILENO, "millrace local: %s: %s\n", site->program, strerror(errno));
    _exit(127);
}

enum err cli_site_start(const struct cli_site *site, uint32_t node)
{
    char path[CLI_SITE_PATH_MAX], config[CLI_SITE_PATH_MAX];
    enum err err;
    pid_t pid;
    int log;

    pid = cli_site_pid(site, node);
    if (pid != 0)
        return err_set(ERR_BUSY, "node %u runs already (pid %d)", (unsigned)node, (int)pid);
    cli_site_path(site, node, "", path);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_set(ERR_IO, "make %s: %s", path, strerror(errno));
    cli_site_path(site, node, "data", path);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_set(ERR_IO, "make %s: %s", path, strerror(errno));
    cli_site_path(site, node, "millraced.yaml", config);
    err = write_config(site, node, config);
    if (err != ERR_OK)
        return err;
    cli_site_path(site, node, "millraced.log", path);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0)
        return err_set(ERR_IO, "open %s: %s", path, strerror(errno));
    pid = fork();
    if (pid == 0)
        become(site, config, log);
    close(log);
    if (pid < 0)
        return err_set(ERR_IO, "start node %u: %s", (unsigned)node, strerror(errno));
    return write_pid(site, node, pid);
}
