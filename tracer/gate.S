/* void gate_call(void (*fn)(void *), void *arg, void *area)
 *
 * Calls code that was compiled for plain x86-64 and may use SSE and x87 registers, keeping the program's.
 * Such code cannot touch the upper halves of vector registers, masks or tiles, so saving components 0 and 1
 * (Intel SDM volume 1, 13.1) is enough. `area` is 576 bytes aligned to 64, its header zeroed once. */
    .text
    .globl gate_call
    .hidden gate_call
    .type gate_call, @function
gate_call:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov %rdx, %rbx
    mov %rdi, %rcx
    mov %rsi, %rdi
    mov $3, %eax
    xor %edx, %edx
    xsave (%rbx)
    call *%rcx
    mov $3, %eax
    xor %edx, %edx
    xrstor (%rbx)
    pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size gate_call, . - gate_call
    .section .note.GNU-stack, "", @progbits
