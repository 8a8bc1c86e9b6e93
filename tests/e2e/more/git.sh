#!/bin/bash
# needs: git mawk
# A generated repository: commits, a merge, log, diff, blame, gc, clone.
set -euo pipefail
export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@d
commits=$((6 * SIZE))

at() {
    export GIT_AUTHOR_DATE="$((1700000000 + $1 * 60)) +0000" GIT_COMMITTER_DATE="$((1700000000 + $1 * 60)) +0000"
}

write() {
    mawk -v seed="$1" 'BEGIN { srand(seed); for (i = 0; i < 400; i++) print int(rand() * 50) < 1 ? seed : i, i * i }'
}

git config --global init.defaultBranch main
git config --global pack.threads 1
git config --global gc.auto 0
git init -q work
cd work
for ((i = 1; i <= commits; i++)); do
    at "$i"
    for file in one two "dir$((i % 3))/three"; do
        mkdir -p "$(dirname "$file")"
        write "$i$file" >"$file"
    done
    git add .
    git commit -q -m "commit $i"
    if ((i == 3)); then
        git checkout -q -b side
        echo side >side
        git add side
        git commit -q -m side
        git checkout -q main
    fi
done
at "$((commits + 1))"
git merge -q --no-edit side
git log --stat --graph --format='%H %an %ad %s'
git diff HEAD~2 | sha256sum
git blame one | tail -n 3
git grep -c 16 | sort
git gc -q --prune=now
git fsck --full 2>&1
git clone -q . ../clone
git -C ../clone rev-list --all --objects | sha256sum
git bundle create -q - HEAD | sha256sum
cd ..
# These hold inode numbers and times.
rm -r work/.git/index clone/.git/index
rm -rf work/.git/logs clone/.git/logs
