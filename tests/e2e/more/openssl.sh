#!/bin/bash
# needs: openssl mawk
# Digests, ciphers, key derivation and signatures: vector code, and long loops of arithmetic.
set -euo pipefail
mawk -v n="$((150000 * SIZE))" 'BEGIN { for (i = 0; i < n; i++) print i, i * 7919 % 104729 }' >data
for digest in md5 sha1 sha256 sha512 sha3-256 blake2b512; do
    openssl dgst "-$digest" data
done
key=00112233445566778899aabbccddeeff
for cipher in aes-128-cbc aes-128-ctr camellia-128-cbc aria-128-cbc; do
    openssl enc "-$cipher" -K $key -iv $key -in data -out "$cipher.enc"
    openssl enc -d "-$cipher" -K $key -iv $key -in "$cipher.enc" | cmp - data
done
openssl enc -chacha20 -K $key$key -iv $key -in data | sha256sum
openssl enc -aes-256-cbc -pbkdf2 -iter "$((40000 * SIZE))" -S 0011223344556677 -P -pass pass:word
openssl prime 170141183460469231731687303715884105727
openssl prime -generate -bits 24 | wc -c
echo 1 | openssl enc -d -aes-128-cbc -K $key -iv $key 2>/dev/null || echo "status $?"
openssl base64 -in data | openssl base64 -d | sha256sum
