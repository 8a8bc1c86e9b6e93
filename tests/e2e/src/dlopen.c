/* build: -O2
 * plugins: plug_a plug_b
 * Two libraries loaded in turn, worked hot and unloaded: one tends to land where the other was. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    (void)argc;
    char directory[4096], path[4200];
    snprintf(directory, sizeof directory, "%s", argv[0]);
    *strrchr(directory, '/') = 0;
    long sum = 0;
    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof path, "%s/libplug_%c.so", directory, "ab"[i & 1]);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            puts("dlopen failed");
            return 1;
        }
        long (*work)(long) = (long (*)(long))dlsym(library, "plug_work");
        for (int k = 0; k < 20; k++)
            sum = sum * 3 + work(500 + k);
        dlclose(library);
    }
    printf("%ld %d\n", sum, dlopen("/nonexistent.so", RTLD_NOW) == NULL);
    return 0;
}
