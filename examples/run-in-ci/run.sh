#!/usr/bin/env bash
# One prompt in a pipeline: a server of its own on a free port, a temporary folder, an exit code that says how the run ended.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# An installed package has `convoke` on the PATH.
convoke=(node "$here/../../bin/convoke.js")

work=$(mktemp -d)
# Nothing stays behind, not even compiled code.
export XDG_CACHE_HOME="$work/cache"
server=''
provider=''
cleanup() {
  for pid in $server $provider; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT

# first_line FILE PID: the first line that process PID writes to FILE.
first_line() {
  for _ in $(seq 1 150); do
    if [ -s "$1" ]; then head -n 1 "$1" && return; fi
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  echo "nothing was said in $1" >&2
  return 1
}

fail() {
  echo "$1" >&2
  exit 1
}

# Stands in for a provider that refuses the key: the second prompt shows what a run that fails looks like.
node -e 'const s = require("http").createServer((_, r) => r.writeHead(401).end("{}")); s.listen(0, "127.0.0.1", () => console.log(s.address().port))' >"$work/provider.log" &
provider=$!
provider_port=$(first_line "$work/provider.log" "$provider")
cat >"$work/convoke.config.json" <<JSON
{
  "models": { "default": "demo/convoke", "demoPaceMs": 0, "discover": false },
  "providers": { "refused": { "kind": "openai-compatible", "baseURL": "http://127.0.0.1:$provider_port/v1", "apiKey": "wrong" } }
}
JSON

"${convoke[@]}" serve --json --port 0 --data "$work/data" --config "$work/convoke.config.json" >"$work/server.log" &
server=$!
url=$(first_line "$work/server.log" "$server" | grep -o 'http://[0-9.:]*')
mkdir "$work/checkout"

# prompt TEXT [FLAGS]: runs one prompt; --yes allows its tool calls, since nobody is there to ask.
prompt() {
  local text=$1
  shift
  printf '%s\n' "$text" | "${convoke[@]}" chat --yes --url "$url" --cwd "$work/checkout" "$@"
}

prompt 'write report.txt: all is well' || fail 'the run failed'
[ "$(cat "$work/checkout/report.txt")" = 'all is well' ] || fail 'the agent did not write its report'

code=0
prompt 'hello' --model refused/any-model || code=$?
[ "$code" -eq 1 ] || fail "a run that fails must give exit code 1, not $code"

kill -TERM "$server"
code=0
wait "$server" || code=$?
server=''
[ "$code" -eq 0 ] || fail "the server stopped with exit code $code"
echo 'the prompt ran, a failing one was noticed, the server stopped'
