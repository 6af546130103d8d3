/*
 * Runs each file of the folders named on the command line through a fuzzer, once: what a fuzzer
 * found stays found, with any compiler. Exits 1 if there was no file at all.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20 }; /* Bytes: seeds are small. */

static int replay_file(const char *folder, const char *name)
{
    char path[4096];
    uint8_t *room = malloc(INPUT_MAX), *exact = NULL;
    FILE *file;
    size_t size = 0;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file != NULL && room != NULL)
        size = fread(room, 1, INPUT_MAX, file);
    /* In memory of its own size, so that a sanitizer sees a read past it. */
    exact = realloc(room, size > 0 ? size : 1);
    if (file == NULL || exact == NULL) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

int main(int argc, char **argv)
{
    int files = 0;

    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        const struct dirent *entry;

        while (folder != NULL && (entry = readdir(folder)) != NULL) {
            if (entry->d_name[0] != '.')
                files += replay_file(argv[i], entry->d_name);
        }
        if (folder != NULL)
            (void)closedir(folder);
    }
    printf("%d inputs\n", files);
    return files > 0 ? 0 : 1;
}
