/* SPDX-License-Identifier: MIT
 * Gives a fuzz target's committed corpus to it, one file after the other, where libFuzzer is not: fuzz_NAME reads
 * tests/fuzz/corpus/NAME. A crash or a sanitizer's report is the failure. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every input is a block of its own exact size, so that AddressSanitizer sees the byte past its end. */
static int replay(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return perror(path), 1;
    size_t size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, file) != size)
        return perror(path), 1;
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    printf("ok %s\n", name);
    return 0;
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
    if (!corpus)
        return perror(folder), 1;
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(corpus));)
        if (entry->d_name[0] != '.')
            failed |= replay(folder, entry->d_name);
    closedir(corpus);
    return failed;
}
