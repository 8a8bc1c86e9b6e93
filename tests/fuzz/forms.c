#include "tests/fuzz/forms.h"

#define ALU(name, base, wr)                                                                                  \
    {name " Eb,Gb", 0, 0, (base) + 0, -1, 0, 3, F_B | ((wr) ? F_WRM | F_LOCKS : 0)},                         \
        {name " Ev,Gv", 0, 0, (base) + 1, -1, 0, 8, F_V | ((wr) ? F_WRM | F_LOCKS : 0)},                     \
        {name " Gb,Eb", 0, 0, (base) + 2, -1, 0, 3, F_B | ((wr) ? F_WREG : 0)},                              \
        {name " Gv,Ev", 0, 0, (base) + 3, -1, 0, 8, F_V | ((wr) ? F_WREG : 0)},                              \
        {name " al,Ib", 0, 0, (base) + 4, -1, 1, 1, F_B | F_BARE | ((wr) ? F_IAX : 0)},                      \
        {name " eax,Iz", 0, 0, (base) + 5, -1, 0, 1, F_V | F_BARE | F_IMMZ | ((wr) ? F_IAX : 0)},            \
        {name " Eb,Ib", 0, 0, 0x80, (base) >> 3, 1, 2, F_B | ((wr) ? F_WRM | F_LOCKS : 0)},                  \
        {name " Ev,Iz", 0, 0, 0x81, (base) >> 3, 0, 2, F_V | F_IMMZ | ((wr) ? F_WRM | F_LOCKS : 0)},         \
    {                                                                                                        \
        name " Ev,Ib", 0, 0, 0x83, (base) >> 3, 1, 8, F_V | ((wr) ? F_WRM | F_LOCKS : 0)                     \
    }

#define SHIFT(name, d)                                                                                       \
    {name " Eb,Ib", 0, 0, 0xc0, d, 1, 1, F_B | F_WRM | F_SMALL},                                             \
        {name " Ev,Ib", 0, 0, 0xc1, d, 1, 4, F_V | F_WRM | F_SMALL},                                         \
        {name " Eb,1", 0, 0, 0xd0, d, 0, 1, F_B | F_WRM}, {name " Ev,1", 0, 0, 0xd1, d, 0, 2, F_V | F_WRM},  \
        {name " Eb,cl", 0, 0, 0xd2, d, 0, 1, F_B | F_WRM | F_ICX},                                           \
    {                                                                                                        \
        name " Ev,cl", 0, 0, 0xd3, d, 0, 2, F_V | F_WRM | F_ICX                                              \
    }

#define SSE(name, prefix, op)                                                                                \
    {                                                                                                        \
        name, prefix, 1, op, -1, 0, 1, F_XREG | F_XRM | F_ALIGN                                              \
    }
#define SSE_U(name, prefix, op)                                                                              \
    {                                                                                                        \
        name, prefix, 1, op, -1, 0, 1, F_XREG | F_XRM                                                        \
    }
#define AVX(name, prefix, op)                                                                                \
    {                                                                                                        \
        name, prefix, 1, op, -1, 0, 1, F_XREG | F_XRM | F_VEX | F_NDS | F_L | F_AVX2                         \
    }

const struct form forms[] = {
    ALU("add", 0x00, 1),
    ALU("or", 0x08, 1),
    ALU("adc", 0x10, 1),
    ALU("sbb", 0x18, 1),
    ALU("and", 0x20, 1),
    ALU("sub", 0x28, 1),
    ALU("xor", 0x30, 1),
    ALU("cmp", 0x38, 0),
    {"test Eb,Gb", 0, 0, 0x84, -1, 0, 3, F_B},
    {"test Ev,Gv", 0, 0, 0x85, -1, 0, 8, F_V},
    {"test al,Ib", 0, 0, 0xa8, -1, 1, 1, F_B | F_BARE},
    {"test Eb,Ib", 0, 0, 0xf6, 0, 1, 2, F_B},
    {"test Ev,Iz", 0, 0, 0xf7, 0, 0, 2, F_V | F_IMMZ},
    {"not Eb", 0, 0, 0xf6, 2, 0, 1, F_B | F_WRM | F_LOCKS},
    {"not Ev", 0, 0, 0xf7, 2, 0, 2, F_V | F_WRM | F_LOCKS},
    {"neg Eb", 0, 0, 0xf6, 3, 0, 1, F_B | F_WRM | F_LOCKS},
    {"neg Ev", 0, 0, 0xf7, 3, 0, 2, F_V | F_WRM | F_LOCKS},
    {"mul Eb", 0, 0, 0xf6, 4, 0, 1, F_B | F_IAX},
    {"mul Ev", 0, 0, 0xf7, 4, 0, 1, F_V | F_IAX | F_IDX},
    {"imul Eb", 0, 0, 0xf6, 5, 0, 1, F_B | F_IAX},
    {"imul Ev", 0, 0, 0xf7, 5, 0, 1, F_V | F_IAX | F_IDX},
    {"inc Eb", 0, 0, 0xfe, 0, 0, 1, F_B | F_WRM | F_LOCKS},
    {"inc Ev", 0, 0, 0xff, 0, 0, 4, F_V | F_WRM | F_LOCKS},
    {"dec Eb", 0, 0, 0xfe, 1, 0, 1, F_B | F_WRM | F_LOCKS},
    {"dec Ev", 0, 0, 0xff, 1, 0, 4, F_V | F_WRM | F_LOCKS},
    {"mov Eb,Gb", 0, 0, 0x88, -1, 0, 6, F_B | F_WRM},
    {"mov Ev,Gv", 0, 0, 0x89, -1, 0, 24, F_V | F_WRM},
    {"mov Gb,Eb", 0, 0, 0x8a, -1, 0, 6, F_B | F_WREG},
    {"mov Gv,Ev", 0, 0, 0x8b, -1, 0, 30, F_V | F_WREG},
    {"mov Eb,Ib", 0, 0, 0xc6, 0, 1, 3, F_B | F_WRM},
    {"mov Ev,Iz", 0, 0, 0xc7, 0, 0, 5, F_V | F_IMMZ | F_WRM},
    {"mov Zb,Ib", 0, 0, 0xb0, -1, 1, 2, F_B | F_OPREG | F_WRM},
    {"mov Zd,Id", 0, 0, 0xb8, -1, 4, 6, F_OPREG | F_WRM},
    {"mov Zq,Iq", 0, 0, 0xb8, -1, 8, 1, F_OPREG | F_Q | F_WRM},
    {"movzx Gv,Eb", 0, 1, 0xb6, -1, 0, 6, F_V | F_RMB | F_WREG},
    {"movzx Gv,Ew", 0, 1, 0xb7, -1, 0, 4, F_Y | F_WREG},
    {"movsx Gv,Eb", 0, 1, 0xbe, -1, 0, 3, F_V | F_RMB | F_WREG},
    {"movsx Gv,Ew", 0, 1, 0xbf, -1, 0, 3, F_Y | F_WREG},
    {"movsxd Gq,Ed", 0, 0, 0x63, -1, 0, 4, F_Q | F_WREG},
    {"lea Gv,M", 0, 0, 0x8d, -1, 0, 14, F_V | F_M | F_WREG},
    {"xchg Eb,Gb", 0, 0, 0x86, -1, 0, 1, F_B | F_WRM | F_WREG},
    {"xchg Ev,Gv", 0, 0, 0x87, -1, 0, 2, F_V | F_WRM | F_WREG},
    {"xadd Eb,Gb", 0, 1, 0xc0, -1, 0, 1, F_B | F_WRM | F_WREG | F_LOCKS},
    {"xadd Ev,Gv", 0, 1, 0xc1, -1, 0, 1, F_V | F_WRM | F_WREG | F_LOCKS},
    {"cmpxchg Eb,Gb", 0, 1, 0xb0, -1, 0, 1, F_B | F_WRM | F_IAX | F_LOCKS},
    {"cmpxchg Ev,Gv", 0, 1, 0xb1, -1, 0, 1, F_V | F_WRM | F_IAX | F_LOCKS},
    {"cmov Gv,Ev", 0, 1, 0x40, -1, 0, 8, F_V | F_CC | F_WREG},
    {"setcc Eb", 0, 1, 0x90, 0, 0, 8, F_B | F_CC | F_WRM},
    {"bt Ev,Ib", 0, 1, 0xba, 4, 1, 2, F_V | F_SMALL},
    {"bts Ev,Ib", 0, 1, 0xba, 5, 1, 1, F_V | F_WRM | F_SMALL | F_LOCKS},
    {"btr Ev,Ib", 0, 1, 0xba, 6, 1, 1, F_V | F_WRM | F_SMALL | F_LOCKS},
    {"btc Ev,Ib", 0, 1, 0xba, 7, 1, 1, F_V | F_WRM | F_SMALL | F_LOCKS},
    {"bt Rv,Gv", 0, 1, 0xa3, -1, 0, 2, F_V | F_R},
    {"bts Rv,Gv", 0, 1, 0xab, -1, 0, 1, F_V | F_R | F_WRM},
    {"btr Rv,Gv", 0, 1, 0xb3, -1, 0, 1, F_V | F_R | F_WRM},
    {"btc Rv,Gv", 0, 1, 0xbb, -1, 0, 1, F_V | F_R | F_WRM},
    SHIFT("rol", 0),
    SHIFT("ror", 1),
    SHIFT("rcl", 2),
    SHIFT("rcr", 3),
    SHIFT("shl", 4),
    SHIFT("shr", 5),
    SHIFT("sar", 7),
    {"shld Ev,Gv,Ib", 0, 1, 0xa4, -1, 1, 1, F_V | F_WRM | F_SMALL | F_NO16},
    {"shld Ev,Gv,cl", 0, 1, 0xa5, -1, 0, 1, F_V | F_WRM | F_ICX | F_NO16},
    {"shrd Ev,Gv,Ib", 0, 1, 0xac, -1, 1, 1, F_V | F_WRM | F_SMALL | F_NO16},
    {"shrd Ev,Gv,cl", 0, 1, 0xad, -1, 0, 1, F_V | F_WRM | F_ICX | F_NO16},
    {"imul Gv,Ev", 0, 1, 0xaf, -1, 0, 4, F_V | F_WREG},
    {"imul Gv,Ev,Iz", 0, 0, 0x69, -1, 0, 1, F_V | F_IMMZ | F_WREG},
    {"imul Gv,Ev,Ib", 0, 0, 0x6b, -1, 1, 2, F_V | F_WREG},
    {"bsf Gv,Ev", 0, 1, 0xbc, -1, 0, 1, F_Y | F_WREG},
    {"bsr Gv,Ev", 0, 1, 0xbd, -1, 0, 1, F_Y | F_WREG},
    {"tzcnt Gv,Ev", 0xf3, 1, 0xbc, -1, 0, 1, F_V | F_WREG | F_BMI},
    {"lzcnt Gv,Ev", 0xf3, 1, 0xbd, -1, 0, 1, F_V | F_WREG | F_BMI},
    {"popcnt Gv,Ev", 0xf3, 1, 0xb8, -1, 0, 1, F_V | F_WREG | F_BMI},
    {"bswap Zd", 0, 1, 0xc8, -1, 0, 1, F_OPREG | F_WRM},
    {"bswap Zq", 0, 1, 0xc8, -1, 0, 1, F_OPREG | F_Q | F_WRM},
    {"movbe Gv,M", 0, 2, 0xf0, -1, 0, 1, F_V | F_M | F_WREG | F_BMI},
    {"movbe M,Gv", 0, 2, 0xf1, -1, 0, 1, F_V | F_M | F_WRM | F_BMI},
    {"cwde", 0, 0, 0x98, -1, 0, 2, F_V | F_BARE | F_IAX},
    {"cdq", 0, 0, 0x99, -1, 0, 2, F_V | F_BARE | F_IDX},
    {"cmc", 0, 0, 0xf5, -1, 0, 1, F_BARE},
    {"clc", 0, 0, 0xf8, -1, 0, 1, F_BARE},
    {"stc", 0, 0, 0xf9, -1, 0, 1, F_BARE},
    {"lahf", 0, 0, 0x9f, -1, 0, 1, F_BARE | F_IAX},
    {"sahf", 0, 0, 0x9e, -1, 0, 1, F_BARE},
    {"nop", 0, 0, 0x90, -1, 0, 1, F_BARE},
    {"nop Ev", 0, 1, 0x1f, 0, 0, 1, F_V},
    {"endbr64", 0xf3, 1, 0x1e, -1, 0, 1, F_BARE | F_ICX},
    {"mfence", 0, 1, 0xae, 6, 0, 1, F_R},
    {"andn Gy,By,Ey", 0, 2, 0xf2, -1, 0, 1, F_Y | F_VEX | F_NDG | F_WREG | F_BMI},
    {"bextr Gy,Ey,By", 0, 2, 0xf7, -1, 0, 1, F_Y | F_VEX | F_NDG | F_WREG | F_BMI},
    {"bzhi Gy,Ey,By", 0, 2, 0xf5, -1, 0, 1, F_Y | F_VEX | F_NDG | F_WREG | F_BMI},
    {"blsr By,Ey", 0, 2, 0xf3, 1, 0, 1, F_Y | F_VEX | F_NDD | F_BMI},
    {"blsi By,Ey", 0, 2, 0xf3, 3, 0, 1, F_Y | F_VEX | F_NDD | F_BMI},
    {"sarx Gy,Ey,By", 0xf3, 2, 0xf7, -1, 0, 1, F_Y | F_VEX | F_NDG | F_WREG | F_BMI},
    {"shlx Gy,Ey,By", 0x66, 2, 0xf7, -1, 0, 1, F_Y | F_VEX | F_NDG | F_WREG | F_BMI},
    {"shrx Gy,Ey,By", 0xf2, 2, 0xf7, -1, 0, 1, F_Y | F_VEX | F_NDG | F_WREG | F_BMI},
    {"pdep Gy,By,Ey", 0xf2, 2, 0xf5, -1, 0, 1, F_Y | F_VEX | F_NDG | F_WREG | F_BMI},
    {"mulx Gy,By,Ey", 0xf2, 2, 0xf6, -1, 0, 1, F_Y | F_VEX | F_NDD | F_WREG | F_BMI},
    {"rorx Gy,Ey,Ib", 0xf2, 3, 0xf0, -1, 1, 1, F_Y | F_VEX | F_WREG | F_BMI},
    /* vectors */
    SSE_U("movups V,W", 0, 0x10),
    SSE_U("movups W,V", 0, 0x11),
    SSE_U("movss V,W", 0xf3, 0x10),
    SSE_U("movss W,V", 0xf3, 0x11),
    SSE_U("movsd V,W", 0xf2, 0x10),
    SSE_U("movsd W,V", 0xf2, 0x11),
    SSE_U("movdqu V,W", 0xf3, 0x6f),
    SSE_U("movdqu W,V", 0xf3, 0x7f),
    SSE("movdqa V,W", 0x66, 0x6f),
    SSE("movdqa W,V", 0x66, 0x7f),
    SSE("movaps V,W", 0, 0x28),
    SSE("movaps W,V", 0, 0x29),
    SSE_U("movq V,W", 0xf3, 0x7e),
    SSE_U("movq W,V", 0x66, 0xd6),
    SSE("pxor", 0x66, 0xef),
    SSE("paddd", 0x66, 0xfe),
    SSE("psubb", 0x66, 0xf8),
    SSE("pand", 0x66, 0xdb),
    SSE("por", 0x66, 0xeb),
    SSE("pcmpeqb", 0x66, 0x74),
    SSE("punpcklbw", 0x66, 0x60),
    SSE("xorps", 0, 0x57),
    SSE("addps", 0, 0x58),
    SSE("mulpd", 0x66, 0x59),
    SSE_U("addss", 0xf3, 0x58),
    SSE_U("addsd", 0xf2, 0x58),
    SSE_U("mulsd", 0xf2, 0x59),
    SSE_U("subsd", 0xf2, 0x5c),
    SSE_U("divsd", 0xf2, 0x5e),
    SSE_U("sqrtsd", 0xf2, 0x51),
    SSE_U("minsd", 0xf2, 0x5d),
    SSE_U("cvtss2sd", 0xf3, 0x5a),
    SSE_U("ucomisd", 0x66, 0x2e),
    SSE_U("comiss", 0, 0x2f),
    {"pshufd", 0x66, 1, 0x70, -1, 1, 1, F_XREG | F_XRM | F_ALIGN},
    {"movd V,Ey", 0x66, 1, 0x6e, -1, 0, 2, F_XREG | F_Y},
    {"movd Ey,V", 0x66, 1, 0x7e, -1, 0, 2, F_XREG | F_Y | F_WRM},
    {"pmovmskb", 0x66, 1, 0xd7, -1, 0, 1, F_XRM | F_R | F_WREG},
    {"movmskpd", 0x66, 1, 0x50, -1, 0, 1, F_XRM | F_R | F_WREG},
    {"pextrw", 0x66, 1, 0xc5, -1, 1, 1, F_XRM | F_R | F_WREG},
    {"pinsrw", 0x66, 1, 0xc4, -1, 1, 1, F_XREG},
    {"cvtsi2sd", 0xf2, 1, 0x2a, -1, 0, 2, F_XREG | F_Y},
    {"cvttsd2si", 0xf2, 1, 0x2c, -1, 0, 2, F_XRM | F_Y | F_WREG},
    {"vmovdqu V,W", 0xf3, 1, 0x6f, -1, 0, 2, F_XREG | F_XRM | F_VEX | F_L},
    {"vmovdqu W,V", 0xf3, 1, 0x7f, -1, 0, 2, F_XREG | F_XRM | F_VEX | F_L},
    AVX("vpxor", 0x66, 0xef),
    AVX("vpaddd", 0x66, 0xfe),
    AVX("vpcmpeqb", 0x66, 0x74),
    AVX("vpor", 0x66, 0xeb),
    AVX("vaddpd", 0x66, 0x58),
    AVX("vmulps", 0, 0x59),
    AVX("vandps", 0, 0x54),
    {"vaddsd", 0xf2, 1, 0x58, -1, 0, 1, F_XREG | F_XRM | F_VEX | F_NDS},
    {"vmovd V,Ey", 0x66, 1, 0x6e, -1, 0, 1, F_XREG | F_Y | F_VEX},
    {"vpmovmskb", 0x66, 1, 0xd7, -1, 0, 1, F_XRM | F_R | F_WREG | F_VEX | F_L | F_AVX2},
    {"vextracti128", 0x66, 3, 0x39, -1, 1, 1, F_XREG | F_XRM | F_VEX | F_L | F_AVX2 | F_Q},
    {"vpbroadcastd", 0x66, 2, 0x58, -1, 0, 1, F_XREG | F_XRM | F_VEX | F_L | F_AVX2},
    {"vzeroupper", 0, 1, 0x77, -1, 0, 1, F_BARE | F_VEX},
};
const int form_count = (int)(sizeof forms / sizeof forms[0]);
