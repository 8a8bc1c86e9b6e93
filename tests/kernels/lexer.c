/* A lexer over generated source text: a switch on the character, short scanning loops, a call per token.
 *
 * kernel: lexer-O0 1.5 40 1120 -O0
 * kernel: lexer-O1 1.1 75 2200 -O1 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum token { END, NAME, NUMBER, STRING, COMMENT, PUNCTUATION, TOKENS };

static char text[64 << 10];

static int is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static enum token next_token(const char **at, unsigned *length)
{
    const char *s = *at, *start;
    while (*s == ' ' || *s == '\n')
        s++;
    start = s;
    enum token token = PUNCTUATION;
    switch (*s) {
    case 0: token = END; break;
    case '"':
        for (s++; *s != '"'; s++)
            if (*s == '\\')
                s++;
        s++;
        token = STRING;
        break;
    case '#':
        while (*s != '\n')
            s++;
        token = COMMENT;
        break;
    case '+': case '-': case '=': case '<': case '>':
        s += s[1] == '=' ? 2 : 1;
        break;
    default:
        if (is_letter(*s)) {
            while (is_letter(*s) || is_digit(*s))
                s++;
            token = NAME;
        } else if (is_digit(*s)) {
            while (is_digit(*s))
                s++;
            token = NUMBER;
        } else {
            s++;
        }
    }
    *length = (unsigned)(s - start);
    *at = s;
    return token;
}

static void generate(void)
{
    static const char *const pieces[] = {"if (", "count", " += ", "length_of", "[", "12", "]", ") {\n    ", "x", " = ",
                                         "\"a \\\" b\"", ";\n", "}\n", "# remark\n", "return ", "40961", " <= ", "y1"};
    unsigned seed = 5;
    size_t used = 0;
    for (;;) {
        seed = seed * 1664525u + 1013904223u;
        const char *piece = pieces[(seed >> 16) % (sizeof pieces / sizeof *pieces)];
        size_t length = strlen(piece);
        if (used + length + 2 > sizeof text)
            break;
        memcpy(text + used, piece, length);
        used += length;
    }
    text[used] = '\n';
}

int main(int argc, char **argv)
{
    unsigned long counts[TOKENS] = {0}, sum = 0;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    generate();
    for (int r = 0; r < rounds * 10; r++) {
        const char *at = text;
        unsigned length;
        enum token token;
        while ((token = next_token(&at, &length)) != END) {
            counts[token]++;
            sum = sum * 3 + length + (unsigned)token;
        }
    }
    printf("%lu %lu %lu %lu %lu %lx\n", counts[NAME], counts[NUMBER], counts[STRING], counts[COMMENT],
           counts[PUNCTUATION], sum);
    return 0;
}
