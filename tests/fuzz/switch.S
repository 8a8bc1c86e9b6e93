/* Into generated code with a whole register state, and out again: general registers, flags, x87 and vectors.
 *
 *   fuzz_enter(struct state *s, pc): host registers aside, s loaded, jmp pc
 *   fuzz_leave: everything stored back into the same s; returns to fuzz_enter's caller
 *
 * Neither touches the generated code's stack. struct state: gpr[16] at 0, rflags at 128, xsave area at 192. */
	.text
	.globl fuzz_enter, fuzz_leave
	.hidden fuzz_enter, fuzz_leave
fuzz_enter:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rdi, state_at(%rip)
	mov %rsi, jump_to(%rip)
	mov %rsp, host_rsp(%rip)
	mov fuzz_xsave_mask(%rip), %eax
	xor %edx, %edx
	xrstor64 192(%rdi)
	push 128(%rdi)
	popfq
	mov 0(%rdi), %rax
	mov 8(%rdi), %rcx
	mov 16(%rdi), %rdx
	mov 24(%rdi), %rbx
	mov 32(%rdi), %rsp
	mov 40(%rdi), %rbp
	mov 48(%rdi), %rsi
	mov 64(%rdi), %r8
	mov 72(%rdi), %r9
	mov 80(%rdi), %r10
	mov 88(%rdi), %r11
	mov 96(%rdi), %r12
	mov 104(%rdi), %r13
	mov 112(%rdi), %r14
	mov 120(%rdi), %r15
	mov 56(%rdi), %rdi
	jmp *jump_to(%rip)

fuzz_leave:
	mov %rdi, scratch(%rip)
	mov state_at(%rip), %rdi
	mov %rax, 0(%rdi)
	mov %rcx, 8(%rdi)
	mov %rdx, 16(%rdi)
	mov %rbx, 24(%rdi)
	mov %rsp, 32(%rdi)
	mov %rbp, 40(%rdi)
	mov %rsi, 48(%rdi)
	mov %r8, 64(%rdi)
	mov %r9, 72(%rdi)
	mov %r10, 80(%rdi)
	mov %r11, 88(%rdi)
	mov %r12, 96(%rdi)
	mov %r13, 104(%rdi)
	mov %r14, 112(%rdi)
	mov %r15, 120(%rdi)
	mov scratch(%rip), %rax
	mov %rax, 56(%rdi)
	mov host_rsp(%rip), %rsp
	pushfq
	pop 128(%rdi)
	mov fuzz_xsave_mask(%rip), %eax
	xor %edx, %edx
	xsave64 192(%rdi)
	push $2
	popfq
	fninit
	ldmxcsr default_mxcsr(%rip)
	vzeroupper
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.section .rodata
default_mxcsr:
	.long 0x1f80
	.bss
	.balign 8
state_at: .skip 8
jump_to: .skip 8
host_rsp: .skip 8
scratch: .skip 8
	.section .note.GNU-stack,"",@progbits
