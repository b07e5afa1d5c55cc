#!/usr/bin/env bash
# Measures how the answers' and the folds' cost grows with the view, and writes it beside this file as CSV and, where Python has
# matplotlib, as plots. make scale runs it; a machine that does nothing else is best. 100 M rows take 1.6 GB below SCALE_DIR for each store.
#
#   SCALE="1000000 10000000 100000000" SCALE_DIR=/tmp/fustor-scale MINUTES=10 make scale
#
# MINUTES=0 leaves the ten minutes of events out, SCALE="" the rest. WITH is a command to run each measurement with (nice, taskset).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=docs/benchmarks
dir=${SCALE_DIR:-/tmp/fustor-scale}
sizes=${SCALE-1000000 10000000 100000000}
minutes=${MINUTES:-10}
mkdir -p "$dir"
go build -o "$dir/bin/" ./tools/gentree ./tools/load ./cmd/fustor
minio=$(ls -t .cache/bin/minio-* 2>/dev/null | head -1 || true)
stores=(local)

if [[ -n $minio ]]; then
    export MINIO_ROOT_USER=scale MINIO_ROOT_PASSWORD=scale-of-views AWS_ACCESS_KEY_ID=scale AWS_SECRET_ACCESS_KEY=scale-of-views
    port=$((20000 + RANDOM % 10000))
    "$minio" server --quiet --address 127.0.0.1:$port "$dir/minio" >"$dir/minio.log" 2>&1 &
    trap 'kill %1' EXIT
    for _ in {1..100}; do curl -sf http://127.0.0.1:$port/minio/health/live && break; sleep 0.2; done
    stores+=(minio)
    "$dir/bin/fustor" admin setup --make-bucket --store "minio://127.0.0.1:$port/scale?tls=false" >/dev/null
else
    echo "SKIPPED MinIO: make servers builds it"
fi
at() { # the store's URL
    case $1 in
    local) echo "file://$dir/local" ;;
    minio) echo "minio://127.0.0.1:$port/scale?tls=false" ;;
    esac
}
gather() { # FILE STORE command…: appends what the command prints as CSV, with the store before it
    local file=$out/$1 store=$2
    shift 2
    ${WITH:-} "$@" | if [[ -s $file ]]; then tail -n +2 | sed "s/^/$store,/"; else sed "1s/^/store,/;2,\$s/^/$store,/"; fi >>"$file"
}

[[ -n $sizes ]] && rm -f "$out"/{questions,queries,folds}.csv
for rows in $sizes; do
    for store in "${stores[@]}"; do
        view=v$rows
        "$dir/bin/gentree" -rows "$rows" -store "$(at "$store")" -view "$view" || true # it may be there
        gather questions.csv "$store" "$dir/bin/load" questions -csv -store "$(at "$store")" -view "$view" -delay "$([[ $store == local ]] && echo 0 || echo 20ms)"
        gather queries.csv "$store" "$dir/bin/load" queries -csv -store "$(at "$store")" -view "$view"
        gather folds.csv "$store" "$dir/bin/load" folds -csv -store "$(at "$store")" -view "$view"
    done
done
if [[ $minutes != 0 ]]; then
    rm -f "$out/events.csv"
    [[ -d $dir/local/views/v10000000 ]] || "$dir/bin/gentree" -rows 10000000 -store "$(at local)" -view v10000000
    gather events.csv local "$dir/bin/load" events -csv -store "$(at local)" -view v10000000 -rate 1000 -for "${minutes}m"
fi
python3 "$out/plot.py" || echo "SKIPPED the plots: they need Python with matplotlib"
