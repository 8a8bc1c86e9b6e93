/* A virtual call in a loop whose object is nearly always of one class: the guarded target can be inlined, and the rare
 * others leave the path. No call depends on another's result, which would hide what the call costs.
 *
 * kernel: virtual 1.2 35 1000 -O2 */
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

struct Shape {
    virtual ~Shape() = default;
    virtual unsigned weight(unsigned x) const = 0;
};

struct Common final : Shape {
    unsigned factor;
    explicit Common(unsigned f) : factor(f) {}
    unsigned weight(unsigned x) const override { return x * factor + 1; }
};

struct Rare final : Shape {
    unsigned weight(unsigned x) const override { return x ^ 0x55u; }
};

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    std::vector<std::unique_ptr<Shape>> shapes;
    for (unsigned i = 0; i < 2000; i++) {
        if (i % 200 == 199)
            shapes.push_back(std::make_unique<Rare>());
        else
            shapes.push_back(std::make_unique<Common>(i % 7));
    }
    unsigned long sum = 0;
    for (int r = 0; r < rounds * 2000; r++)
        for (const auto &shape : shapes)
            sum += shape->weight(static_cast<unsigned>(r));
    std::printf("%lx\n", sum);
    return 0;
}
