/* build: -O2
 * An exception nobody catches: std::terminate, its message and status. */
#include <stdexcept>

static __attribute__((noinline)) int deep(int depth)
{
    if (depth == 0)
        throw std::runtime_error("nobody catches this");
    return deep(depth - 1) + 1;
}

int main()
{
    return deep(30);
}
