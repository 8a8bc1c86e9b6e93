/* build: -O2
 * libs: callback
 * C++ exceptions: through frames with destructors, rethrown, through a C library's callback and qsort. */
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

extern "C" int callback_apply(int (*call)(int), int value);
extern "C" void callback_sort(int *numbers, size_t count, int (*compare)(const void *, const void *));

static long destroyed;
struct Guard {
    ~Guard() { destroyed++; }
};
struct Special : std::runtime_error {
    int code;
    explicit Special(int c) : std::runtime_error("special " + std::to_string(c)), code(c) {}
};

static __attribute__((noinline)) int throwing(int depth)
{
    Guard guard;
    if (depth == 0)
        throw Special(7);
    if (depth == 5) {
        try {
            return throwing(depth - 1);
        } catch (const Special &error) {
            throw Special(error.code + 1);
        }
    }
    return throwing(depth - 1) + 1;
}

static int thrown_from_callback(int value)
{
    Guard guard;
    if (value % 3 == 0)
        throw value;
    return value;
}

static int compares;
static int compare(const void *a, const void *b)
{
    if (++compares > 500)
        throw std::logic_error("enough");
    return *static_cast<const int *>(a) - *static_cast<const int *>(b);
}

int main()
{
    long sum = 0;
    for (int i = 0; i < 3000; i++) {
        try {
            sum += throwing(i % 12);
        } catch (const std::exception &error) {
            sum += error.what()[8];
        }
        try {
            sum += callback_apply(thrown_from_callback, i);
        } catch (int value) {
            sum -= value;
        }
    }
    int numbers[1000];
    for (int i = 0; i < 1000; i++)
        numbers[i] = i * 7919 % 1000;
    try {
        callback_sort(numbers, 1000, compare);
        puts("not thrown");
    } catch (const std::logic_error &error) {
        printf("%s after %d\n", error.what(), compares);
    }
    printf("%ld %ld\n", sum, destroyed);
    try {
        throw 1;
    } catch (...) {
        puts("caught all");
    }
    return 0;
}
