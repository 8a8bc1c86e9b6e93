#!/bin/bash
# needs: node
# A JIT compiler with its own threads and memory protection.
set -euo pipefail
# shellcheck disable=SC2016 # that is JavaScript
node -e '
const crypto = require("crypto");
const n = 200000 * Number(process.env.SIZE);
let s = 1, words = new Map();
for (let i = 0; i < n; i++) {
    s = Math.imul(s, 1664525) + 1013904223 | 0;
    const key = "k" + (s >>> 22);
    words.set(key, (words.get(key) || 0) + s % 7);
}
const sorted = [...words].sort((a, b) => a[0] < b[0] ? -1 : 1);
console.log(crypto.createHash("sha256").update(JSON.stringify(sorted)).digest("hex"));
console.log("abc def".replace(/(\w+) (\w+)/, "$2 $1"), 2n ** 200n);
try { null.x } catch (e) { console.log(e.constructor.name) }
function deep(k) { return k ? 1 + deep(k - 1) : 0 }
try { deep(1e9) } catch (e) { console.log(e.constructor.name) }
setTimeout(() => { console.log("later"); process.exitCode = 5 }, 20);
' || echo "status $?"
