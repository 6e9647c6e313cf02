/* SPDX-License-Identifier: MIT
 * Gives a fuzz target's committed corpus to it, one file after the other, where libFuzzer is not: fuzz_NAME reads
 * tests/fuzz/corpus/NAME. A crash or a sanitizer's report is the failure. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every input is a block of its own exact size, so that AddressSanitizer sees the byte past its end. */
static bool replay(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return false;
    size_t size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, file) != size)
        return false;
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *target = strstr(argv[0], "fuzz_");
    for (const char *later = target; later; later = strstr(later + 1, "fuzz_"))
        target = later;
    char folder[4000];
    snprintf(folder, sizeof folder, "%s/fuzz/corpus/%s", EK_TEST_DIR, target ? target + strlen("fuzz_") : "");
    DIR *corpus = opendir(folder);
    if (!corpus || chdir(folder) != 0) {
        perror(folder);
        return 1;
    }
    bool fine = true;
    int inputs = 0;
    for (struct dirent *entry; (entry = readdir(corpus));) {
        if (entry->d_name[0] == '.')
            continue;
        bool read = replay(entry->d_name);
        printf("%s %s\n", read ? "ok" : "not ok", entry->d_name);
        fine = fine && read;
        inputs++;
    }
    closedir(corpus);
    if (inputs == 0)
        printf("not ok %s: an empty corpus\n", folder);
    return fine && inputs > 0 ? 0 : 1;
}
