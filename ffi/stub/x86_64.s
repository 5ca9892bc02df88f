# The stub for x86-64: makes system calls for another process. ffi/stub_process.ts tells what it is for and how the two
# talk; ffi/stub_program.ts holds this file assembled (tests/unit/ffi_stub_program.test.ts compares).
        .intel_syntax noprefix
        .globl  _start

        .set    MEMORY, 0x10000000      # where the shared memory lies; offsets in it:
        .set    STATE, 0                #   1 = a call is wanted, 2 = it is answered
        .set    ASLEEP, 4               #   the stub waits for a futex wake on STATE
        .set    WAITING, 8              #   the other side does
        .set    FORKED, 12              #   pid of the last fork's child
        .set    NUMBER, 16
        .set    ARGUMENTS, 24
        .set    RESULT, 72
        .set    KIND, 80                #   0 = plain, 1 = fork, 2 = execve
        .set    SCRATCH, 88
        .set    SIZE, 0x800000

_start: mov     eax, 9                  # mmap
        mov     edi, MEMORY
        mov     esi, SIZE
        mov     edx, 3                  # PROT_READ | PROT_WRITE
        mov     r10d, 0x11              # MAP_SHARED | MAP_FIXED
        mov     r8d, 3                  # the descriptor that it is started with
        xor     r9d, r9d
        syscall
        mov     ebx, MEMORY
        cmp     rax, rbx
        jne     end

        mov     eax, 157                # prctl: whoever has started it takes it along,
        mov     edi, 1                  # PR_SET_PDEATHSIG
        mov     esi, 9                  # SIGKILL
        syscall
        mov     eax, 45                 # recvfrom: and has not ended before, which would have closed the socket's other end
        mov     edi, 4
        lea     rsi, [rbx + SCRATCH]
        mov     edx, 1
        mov     r10d, 0x42              # MSG_PEEK | MSG_DONTWAIT
        xor     r8d, r8d
        xor     r9d, r9d
        syscall
        test    rax, rax
        jz      end

sleep:  mov     eax, 1
        xchg    [rbx + ASLEEP], eax     # xchg is a full barrier: told before looking once more
        mov     edx, [rbx + STATE]
        cmp     edx, 1
        je      awake
        mov     eax, 202                # futex
        mov     rdi, rbx
        xor     esi, esi                # FUTEX_WAIT, while it is edx
        xor     r10d, r10d
        syscall
awake:  xor     eax, eax
        xchg    [rbx + ASLEEP], eax
        cmp     dword ptr [rbx + STATE], 1
        jne     sleep

call:   mov     r12d, [rbx + KIND]      # read now: after a fork the child may have answered already
        mov     rax, [rbx + NUMBER]
        mov     rdi, [rbx + ARGUMENTS]
        mov     rsi, [rbx + ARGUMENTS + 8]
        mov     rdx, [rbx + ARGUMENTS + 16]
        mov     r10, [rbx + ARGUMENTS + 24]
        mov     r8, [rbx + ARGUMENTS + 32]
        mov     r9, [rbx + ARGUMENTS + 40]
        syscall
        cmp     r12d, 1
        je      forked
        ja      failed

answer: mov     [rbx + RESULT], rax
        mov     eax, 2
        xchg    [rbx + STATE], eax
        cmp     dword ptr [rbx + WAITING], 0
        je      sleep
        mov     eax, 202
        mov     rdi, rbx
        mov     esi, 1                  # FUTEX_WAKE
        mov     edx, 1
        syscall
        jmp     sleep

forked: test    rax, rax
        jle     answer                  # the child, or no child
        mov     [rbx + FORKED], eax
end:    mov     eax, 231                # exit_group: from now on the child is the one that serves
        xor     edi, edi
        syscall

failed: mov     [rbx + RESULT], rax     # execve has returned: said on the socket, whose end says that it has not
        mov     eax, 1                  # write
        mov     edi, 4
        lea     rsi, [rbx + RESULT]
        mov     edx, 8
        syscall
        mov     rax, [rbx + RESULT]
        jmp     answer
