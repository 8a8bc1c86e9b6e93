/* void takeover(struct cpu_ctx *ctx, void *stack_top, void (*run)(uint64_t pc))
 *
 * Called like any function; from the caller's point of view it returns at once. In truth the state it would
 * return with is stored in ctx, the stack is switched to the runtime's, and run() carries on from the return
 * address under control. run() does not return. Offsets: struct cpu_ctx in runtime/base/context.h. */
    .text
    .globl takeover
    .hidden takeover
    .type takeover, @function
takeover:
    movq $0, 0x00(%rdi)
    mov %rcx, 0x08(%rdi)
    mov %rdx, 0x10(%rdi)
    mov %rbx, 0x18(%rdi)
    lea 8(%rsp), %rax
    mov %rax, 0x20(%rdi)
    mov %rbp, 0x28(%rdi)
    mov %rsi, 0x30(%rdi)
    mov %rdi, 0x38(%rdi)
    mov %r8, 0x40(%rdi)
    mov %r9, 0x48(%rdi)
    mov %r10, 0x50(%rdi)
    mov %r11, 0x58(%rdi)
    mov %r12, 0x60(%rdi)
    mov %r13, 0x68(%rdi)
    mov %r14, 0x70(%rdi)
    mov %r15, 0x78(%rdi)
    pushfq
    pop %rax
    mov %rax, 0x80(%rdi)
    mov (%rsp), %rdi
    mov %rsi, %rsp
    xor %ebp, %ebp
    call *%rdx
    ud2
    .size takeover, . - takeover
    .section .note.GNU-stack, "", @progbits
