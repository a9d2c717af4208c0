#!/bin/sh
# A stand-in for the shell agents of 2012 to 2018, as far as a running daemon can tell: started through su, nothing but
# the number in the pid file, no trace of the agent in command line or environment. Written for the tests.

name=$(basename "$0")
project=${name%%-*}
: "${OCF_RESKEY_binary:=$name}"
: "${OCF_RESKEY_config:=/etc/$project/$([ "$project" = glance ] && echo glance-api || echo "$project").conf}"
: "${OCF_RESKEY_user:=$project}"
: "${OCF_RESKEY_pid:=/run/resource-agents/$OCF_RESOURCE_INSTANCE.pid}"

running() {
    [ -f "$OCF_RESKEY_pid" ] && kill -0 "$(cat "$OCF_RESKEY_pid")" 2>/dev/null
}

case $1 in
start)
    running && exit 0
    su "$OCF_RESKEY_user" -s /bin/sh -c "$OCF_RESKEY_binary --config-file=$OCF_RESKEY_config \
        $OCF_RESKEY_additional_parameters >>/dev/null 2>&1 & echo \$!" >"$OCF_RESKEY_pid"
    ;;
stop)
    running || exit 0
    kill "$(cat "$OCF_RESKEY_pid")"
    while running; do sleep 0.2; done
    rm -f "$OCF_RESKEY_pid"
    ;;
monitor | status)
    running || exit 7
    ;;
meta-data)
    cat "/root/meta-data/$name.xml"
    ;;
esac
