/* build: -O1 -mno-red-zone
 * Instructions a translator gets wrong: loop, jrcxz, string operations with the direction flag, pushf/popf,
 * lahf/sahf, cmpxchg16b, xlat, enter/leave, ret imm16, flags across jumps, segment-relative access, call $+5. */
#include <stdio.h>
#include <string.h>

typedef unsigned long u64;

static u64 loops(u64 n)
{
    u64 sum = 0;
    __asm__ volatile("1: add %%rcx, %0\n xor $5, %0\n loop 1b\n"
                     "mov $40, %%rcx\n 2: dec %%rcx\n lea 3(%0), %0\n jrcxz 3f\n jmp 2b\n 3:\n"
                     "mov $50, %%ecx\n cmp %%ecx, %%ecx\n 4: inc %0\n cmp $13, %%ecx\n loopne 4b\n"
                     "mov $9, %%ecx\n 5: add $2, %0\n test $0, %%al\n loope 5b\n"
                     "mov $0x100000001, %%rcx\n dec %%ecx\n jecxz 6f\n add $1000, %0\n 6:\n"
                     : "+r"(sum), "+c"(n) : : "cc");
    return sum;
}

static void strings(char *to, const char *from, u64 size)
{
    u64 count = size, found;
    void *di = to;
    const void *si = from;
    __asm__ volatile("rep movsb" : "+D"(di), "+S"(si), "+c"(count) : : "memory");
    di = to + size - 1, si = from + size - 2, count = size - 1;
    __asm__ volatile("std\n rep movsb\n cld" : "+D"(di), "+S"(si), "+c"(count) : : "memory");
    di = to, count = size / 2;
    __asm__ volatile("repne scasb" : "+D"(di), "+c"(count) : "a"('k') : "cc", "memory");
    found = count;
    di = to, si = from, count = size;
    __asm__ volatile("repe cmpsb" : "+D"(di), "+S"(si), "+c"(count) : : "cc", "memory");
    di = to + size - 16;
    u64 words = 2;
    __asm__ volatile("rep stosq" : "+D"(di), "+c"(words) : "a"(0x4142434445464748UL) : "memory");
    printf("strings %lu %lu %.*s\n", found, count, (int)size, to);
}

static u64 flags(u64 a, u64 b)
{
    u64 out, kept;
    __asm__ volatile("cmp %3, %2\n pushfq\n pop %0\n and $0x8d5, %0\n"
                     "stc\n mov %2, %1\n jmp 1f\n nop\n 1: adc %3, %1\n lahf\n shr $8, %%eax\n and $0xd5, %%eax\n"
                     "add %%rax, %1\n push $0x8d7\n popfq\n setc %%al\n seto %%cl\n adc $0, %1\n"
                     "add %%al, %%cl\n movzbl %%cl, %%ecx\n add %%rcx, %1\n"
                     : "=&r"(out), "=&r"(kept) : "r"(a), "r"(b) : "rax", "rcx", "cc");
    return out * 1000003 + kept;
}

static u64 exchange16(u64 rounds)
{
    static struct { u64 low, high; } __attribute__((aligned(16))) cell = {1, 2};
    u64 wins = 0;
    for (u64 i = 0; i < rounds; i++) {
        u64 low = i % 5 ? cell.low : ~cell.low, high = cell.high;
        unsigned char won;
        __asm__ volatile("lock cmpxchg16b %1\n sete %0"
                         : "=q"(won), "+m"(cell), "+a"(low), "+d"(high) : "b"(cell.low + i), "c"(cell.high ^ i) : "cc");
        wins += won;
    }
    return wins * 31 + cell.low + cell.high;
}

static u64 translate(const unsigned char *bytes, u64 rounds)
{
    u64 value = 3;
    for (u64 i = 0; i < rounds; i++)
        __asm__ volatile("xlat" : "+a"(value) : "b"(bytes) : "memory");
    return value;
}

/* enter with nesting, leave, and callees that pop their arguments. */
u64 popping(u64 rounds);
__asm__(".text\n"
        "pops16: mov 8(%rsp), %rax\n add 16(%rsp), %rax\n ret $16\n"
        "framed: enter $32, $0\n mov %rdi, -8(%rbp)\n addq $5, -8(%rbp)\n mov -8(%rbp), %rax\n leave\n ret\n"
        "nested: enter $16, $2\n mov %rdi, -24(%rbp)\n mov -24(%rbp), %rax\n leave\n ret\n"
        "popping: push %rbx\n push %r12\n push %r13\n mov %rdi, %rbx\n xor %r12d, %r12d\n"
        "1: push %rbx\n push %r12\n call pops16\n mov %rax, %r12\n mov %rbx, %rdi\n call framed\n add %rax, %r12\n"
        "mov %r12, %rdi\n call nested\n mov %rax, %r12\n call 2f\n 2: pop %rax\n lea 2b(%rip), %rcx\n sub %rcx, %rax\n"
        "add %rax, %r12\n lea 3f(%rip), %rax\n push %rax\n ret\n ud2\n 3: dec %rbx\n jnz 1b\n"
        "mov %r12, %rax\n pop %r13\n pop %r12\n pop %rbx\n ret\n");

static u64 wide(u64 a, u64 b)
{
    u64 low, high, quotient, rest, crc = 0, bits;
    __asm__("mulq %3" : "=a"(low), "=d"(high) : "0"(a), "r"(b) : "cc");
    __asm__("divq %4" : "=a"(quotient), "=d"(rest) : "0"(low), "1"(high % (b | 1)), "r"(b | 1) : "cc");
    __asm__("shldq $7, %2, %0\n rcl $3, %0\n bswap %0\n bts $5, %0\n adc $0, %0"
            : "=&r"(bits) : "0"(a), "r"(b) : "cc");
    __asm__("xchg %b0, %h0\n cwtl\n cltq" : "+a"(crc) : : );
    return low ^ high ^ quotient ^ rest ^ bits ^ crc;
}

static int thread_local_zero(void)
{
    u64 self, first;
    __asm__("mov %%fs:0, %0\n mov %%fs:16, %1" : "=r"(self), "=r"(first));
    return self == first;
}

int main(void)
{
    unsigned char bytes[256];
    char to[64] = {0};
    u64 sum = 0;
    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)(i * 167 + 13);
    for (u64 i = 1; i < 3000; i++)
        sum = sum * 31 + loops(i % 60 + 1) + flags(i * 7919, i * i) + wide(sum, i) + translate(bytes, i % 40);
    printf("%lx %lx\n", sum, exchange16(5000));
    strings(to, "the quick brown fox jumps over the lazy dog", 43);
    printf("%lu %d\n", popping(4000), thread_local_zero());
    return 0;
}
