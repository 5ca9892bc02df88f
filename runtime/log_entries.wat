;; Entries of a json-file log, sixteen bytes at a time: see runtime/log_encoder.ts for what is where in the memory.
;;
;; The same bytes as runtime/json_text.ts and runtime/shim_log.ts make one at a time. Loads and stores of sixteen bytes go beyond the ends of
;; what they are for; whoever calls leaves room for that.
;; Assembled by scripts/assemble_wat.ts into runtime/log_entries_program.ts.
(module
  (memory (export "memory") 7)

  ;; Encodes whole lines, and the first 16 KiB of a longer one, of [at, end) to $out, one entry each, as long as an entry begins below $limit.
  ;; $after is what follows an entry's text, $length bytes that begin with the escaped end of the line.
  ;; Answers how far it came in both. What is left is the start of a line whose end is missing, or did not fit.
  (func (export "entries")
    (param $at i32) (param $end i32) (param $out i32) (param $limit i32) (param $after i32) (param $length i32)
    (result i32 i32)
    (local $line i32)   ;; where the entry's text begins
    (local $entry i32)  ;; where the entry begins
    (local $stop i32)   ;; where its text ends at the latest
    (local $bytes v128)
    (local $byte i32)
    (local $next i32)   ;; the second byte of a character
    (local $size i32)   ;; of a character, or of an escape
    (local $skip i32)   ;; how much of $after is left out: the end of a line that has not ended
    (local $from i32)
    (local $tail i32)

    (loop $entries
      (if (i32.or (i32.ge_u (local.get $at) (local.get $end)) (i32.ge_u (local.get $out) (local.get $limit)))
        (then (return (local.get $at) (local.get $out))))
      (local.set $line (local.get $at))
      (local.set $entry (local.get $out))
      (local.set $stop (i32.add (local.get $at) (i32.const 16384)))
      (if (i32.gt_u (local.get $stop) (local.get $end)) (then (local.set $stop (local.get $end))))
      (i64.store (local.get $out) (i64.const 0x223a22676f6c227b))  ;; {"log":"
      (local.set $out (i32.add (local.get $out) (i32.const 8)))

      (block $text
        (loop $scan
          ;; What stands for itself is copied, up to the first byte that does not: controls and what is no ASCII (below 0x20 as signed numbers),
          ;; " and & (which differ in one bit), < and > (likewise), and the backslash.
          (if (i32.lt_u (local.get $at) (local.get $stop))
            (then
              (local.set $bytes (v128.load (local.get $at)))
              (v128.store (local.get $out) (local.get $bytes))
              (local.set $size (i32.ctz (i32.or (i32.const 0x10000) (i8x16.bitmask
                (v128.or
                  (v128.or
                    (i8x16.lt_s (local.get $bytes) (v128.const i32x4 0x20202020 0x20202020 0x20202020 0x20202020))
                    (i8x16.eq (local.get $bytes) (v128.const i32x4 0x5c5c5c5c 0x5c5c5c5c 0x5c5c5c5c 0x5c5c5c5c)))
                  (v128.or
                    (i8x16.eq
                      (v128.or (local.get $bytes) (v128.const i32x4 0x04040404 0x04040404 0x04040404 0x04040404))
                      (v128.const i32x4 0x26262626 0x26262626 0x26262626 0x26262626))
                    (i8x16.eq
                      (v128.or (local.get $bytes) (v128.const i32x4 0x02020202 0x02020202 0x02020202 0x02020202))
                      (v128.const i32x4 0x3e3e3e3e 0x3e3e3e3e 0x3e3e3e3e 0x3e3e3e3e))))))))
              (local.set $at (i32.add (local.get $at) (local.get $size)))
              (local.set $out (i32.add (local.get $out) (local.get $size)))
              (br_if $scan (i32.eq (local.get $size) (i32.const 16)))))

          (if (i32.ge_u (local.get $at) (local.get $stop))
            (then
              (local.set $out (i32.sub (local.get $out) (i32.sub (local.get $at) (local.get $stop))))
              (local.set $at (local.get $stop))
              ;; the start of a line whose end is still to come
              (if (i32.ne (i32.sub (local.get $stop) (local.get $line)) (i32.const 16384))
                (then (return (local.get $line) (local.get $entry))))
              (local.set $skip (i32.const 2))
              (br $text)))

          (local.set $byte (i32.load8_u (local.get $at)))
          (if (i32.eq (local.get $byte) (i32.const 0x0a))
            (then
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (local.set $skip (i32.const 0))
              (br $text)))

          (if (i32.lt_u (local.get $byte) (i32.const 0x80))
            (then
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (local.set $next (local.get $byte))
              (if (i32.eq (local.get $byte) (i32.const 0x0d)) (then (local.set $next (i32.const 0x72))))
              (if (i32.or (i32.eq (local.get $next) (i32.const 0x72))
                    (i32.or (i32.eq (local.get $byte) (i32.const 0x22)) (i32.eq (local.get $byte) (i32.const 0x5c))))
                (then  ;; \r \" \\
                  (i32.store16 (local.get $out)
                    (i32.or (i32.const 0x5c) (i32.shl (local.get $next) (i32.const 8))))
                  (local.set $out (i32.add (local.get $out) (i32.const 2))))
                (else  ;; \u00, and two digits of which the first is at most 3
                  (i32.store (local.get $out) (i32.const 0x3030755c))
                  (i32.store8 offset=4 (local.get $out)
                    (i32.add (i32.const 0x30) (i32.shr_u (local.get $byte) (i32.const 4))))
                  (local.set $byte (i32.and (local.get $byte) (i32.const 15)))
                  (i32.store8 offset=5 (local.get $out)
                    (i32.add (local.get $byte)
                      (select (i32.const 0x57) (i32.const 0x30) (i32.gt_u (local.get $byte) (i32.const 9)))))
                  (local.set $out (i32.add (local.get $out) (i32.const 6)))))
              (br $scan)))

          ;; UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF, all of it before $stop.
          (local.set $size (i32.add (i32.const 2)
            (i32.add (i32.ge_u (local.get $byte) (i32.const 0xe0)) (i32.ge_u (local.get $byte) (i32.const 0xf0)))))
          (local.set $next (i32.load8_u offset=1 (local.get $at)))
          (if
            (i32.or
              (i32.or
                (i32.or (i32.lt_u (local.get $byte) (i32.const 0xc2)) (i32.gt_u (local.get $byte) (i32.const 0xf4)))
                (i32.gt_u (i32.add (local.get $at) (local.get $size)) (local.get $stop)))
              (i32.or
                (i32.or
                  (i32.lt_u (local.get $next)
                    (select (i32.const 0xa0)
                      (select (i32.const 0x90) (i32.const 0x80) (i32.eq (local.get $byte) (i32.const 0xf0)))
                      (i32.eq (local.get $byte) (i32.const 0xe0))))
                  (i32.gt_u (local.get $next)
                    (select (i32.const 0x9f)
                      (select (i32.const 0x8f) (i32.const 0xbf) (i32.eq (local.get $byte) (i32.const 0xf4)))
                      (i32.eq (local.get $byte) (i32.const 0xed)))))
                (i32.or
                  (i32.and (i32.gt_u (local.get $size) (i32.const 2))
                    (i32.ne (i32.and (i32.load8_u offset=2 (local.get $at)) (i32.const 0xc0)) (i32.const 0x80)))
                  (i32.and (i32.gt_u (local.get $size) (i32.const 3))
                    (i32.ne (i32.and (i32.load8_u offset=3 (local.get $at)) (i32.const 0xc0)) (i32.const 0x80))))))
            (then  ;; \ufffd for one byte
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (i32.store (local.get $out) (i32.const 0x6666755c))
              (i32.store16 offset=4 (local.get $out) (i32.const 0x6466))
              (local.set $out (i32.add (local.get $out) (i32.const 6)))
              (br $scan)))
          ;; U+2028 and U+2029, which end lines in JavaScript
          (if (i32.eq (i32.and (i32.load (local.get $at)) (i32.const 0x00feffff)) (i32.const 0x00a880e2))
            (then
              (i32.store (local.get $out) (i32.const 0x3032755c))
              (i32.store8 offset=4 (local.get $out) (i32.const 0x32))
              (i32.store8 offset=5 (local.get $out)
                (i32.add (i32.const 0x38) (i32.and (i32.load8_u offset=2 (local.get $at)) (i32.const 1))))
              (local.set $at (i32.add (local.get $at) (i32.const 3)))
              (local.set $out (i32.add (local.get $out) (i32.const 6)))
              (br $scan)))
          (i32.store (local.get $out) (i32.load (local.get $at)))
          (local.set $at (i32.add (local.get $at) (local.get $size)))
          (local.set $out (i32.add (local.get $out) (local.get $size)))
          (br $scan)))

      (local.set $from (i32.add (local.get $after) (local.get $skip)))
      (local.set $tail (i32.add (local.get $out) (i32.sub (local.get $length) (local.get $skip))))
      (loop $copy
        (v128.store (local.get $out) (v128.load (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (local.set $out (i32.add (local.get $out) (i32.const 16)))
        (br_if $copy (i32.lt_u (local.get $out) (local.get $tail))))
      (local.set $out (local.get $tail))
      (br $entries))
    (unreachable)))
