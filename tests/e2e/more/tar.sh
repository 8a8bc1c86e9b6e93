#!/bin/bash
# needs: tar gzip xz zstd mawk openssl
# Archives, through pipes to compressors and back.
set -euo pipefail
mkdir -p in/a in/b out
mawk -v n="$((20000 * SIZE))" 'BEGIN { for (i = 0; i < n; i++) print i, i * i % 9973, "the quick brown fox" }' >in/a/text
head -c "$((1000000 * SIZE))" /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >in/b/noise || true
ln -s ../a/text in/b/link
ln in/a/text in/hard
chmod 640 in/a/text
pack() {
    tar -c --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner "$@" in
}
pack >plain.tar
pack -z >gzip.tar.gz
pack -J >xz.tar.xz
pack --zstd >zstd.tar.zst
for archive in *.tar*; do
    mkdir "out/$archive"
    tar -xf "$archive" -C "out/$archive"
    diff -r --no-dereference in "out/$archive/in"
    tar -tvf "$archive" | sha256sum
done
tar -cf - in | tar -xOf - in/a/text | sha256sum
tar -xf gzip.tar.gz no/such/file || echo "status $?"
