/* SPDX-License-Identifier: MIT
 * tests/fetch/server.py for tests in C: it serves the files of `root`. Include behind test_data.h. */
#ifndef EK_TEST_SERVER_H
#define EK_TEST_SERVER_H

#include <signal.h>
#include <sys/wait.h>

static char root[SCRATCH_SIZE];
static pid_t server;
static int port;

/* Starts the server; its port, 0 when it did not come up. */
static inline int launch(void)
{
    int out[2], found = 0;
    if (pipe(out))
        return 0;
    server = fork();
    if (server == 0) {
        close(out[0]);
        dup2(out[1], 1);
        close(out[1]);
        execlp("python3", "python3", EK_TEST_DIR "/fetch/server.py", root, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    /* The whole line: the server may write it in pieces, and would die of a pipe that is closed after the first. */
    FILE *lines = fdopen(out[0], "r");
    if (!lines || fscanf(lines, "%d%*1[\n]", &found) != 1)
        found = 0;
    if (lines)
        fclose(lines);
    return found;
}

/* A folder `root` and the server on it; false when that fails. */
static inline bool start_serving(void)
{
    setenv("no_proxy", "127.0.0.1", 1);
    if (!mkdtemp(scratch_template(root, "server")))
        return false;
    port = launch();
    if (!port)
        fprintf(stderr, "tests/fetch/server.py did not start: python3 is needed\n");
    return port != 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    char command[SCRATCH_SIZE + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return kill(server, SIGTERM) == 0 && waitpid(server, NULL, 0) == server && system(command) == 0 ? 0 : -1;
}

/* Lines of the server's log that begin with `text`; the log is emptied by each test's fetches in a new folder. */
static inline int logged(const char *text)
{
    char path[SCRATCH_SIZE + 64], line[512];
    int count = 0;
    snprintf(path, sizeof path, "%s/log", root);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        count += strncmp(line, text, strlen(text)) == 0;
    if (file)
        fclose(file);
    return count;
}

static inline int enter(void **state)
{
    char path[SCRATCH_SIZE + 64];
    snprintf(path, sizeof path, "%s/log", root);
    unlink(path);
    return enter_folder(state);
}

#endif
