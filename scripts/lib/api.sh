# controld's API for shell scripts. To be sourced after services.sh.

api_answers() { [ "$(curl -fsS "$api/ping")" = pong ]; }

# api METHOD PATH [JSON]: the answer's body; an error's message and status 1 otherwise.
api() {
  local method=$1 path=$2 body=${3:-} answer status
  answer=$(curl -sS -X "$method" ${body:+-d "$body"} -w '\n%{http_code}' "$api/v1/$path") || return 1
  status=${answer##*$'\n'}
  answer=${answer%$'\n'*}
  if [ "${status:0:1}" = 2 ]; then
    echo "$answer"
  else
    jq -r '"\(.code): \(.message)\(if .fieldName then " (\(.fieldName))" else "" end)"' <<<"$answer" >&2
    return 1
  fi
}

# ensure TYPE UUID JSON: the id of the resource with that uuid, made unless it is there.
ensure() {
  local kind=$1 uuid=$2 body=$3 id
  id=$(api GET "$kind?uuid=$uuid&removed_null=1" | jq -r '.data[0].id // empty')
  [ -n "$id" ] || id=$(api POST "$kind" "$(jq -c --arg uuid "$uuid" '. + {uuid: $uuid}' <<<"$body")" | jq -r .id)
  [ -n "$id" ] || return 1
  echo "$id"
}

# await_state SECONDS TYPE/ID STATE: tells each change until the resource is in that state.
await_state() {
  local limit=$1 path=$2 wanted=$3 began=$SECONDS now='' seen=
  while [ "${now%% *}" != "$wanted" ]; do
    now=$(api GET "$path" | jq -r '"\(.state) \(.transitioning) \(.transitioningMessage // "")"') || return 1
    [ "$now" = "$seen" ] || say "$path: $(sed 's/ \(yes\|no\|error\) */ /' <<<"$now")"
    seen=$now
    case $now in *" error "*) return 1 ;; esac
    [ $((SECONDS - began)) -lt "$limit" ] || { say "$path: still ${now%% *} after $limit s" >&2; return 1; }
    [ "${now%% *}" = "$wanted" ] || sleep 0.5
  done
}
