#!/bin/sh
# Tries the stack that deploy.sh made: an agent indexes a small tree through the ingest function, and the query function
# must find what is in it: sh localstack/smoke.sh.
set -eu
cd "$(dirname "$0")/.."
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
eval "$(sh localstack/deploy.sh)"
make build >&2

store="s3://$BUCKET?endpoint=http://127.0.0.1:4566"
bin/fustor doctor "$store"
key=$(bin/fustor admin key create smoke --role ingest,query --view smoke --store "$store")
[ -n "$key" ] || { echo "smoke: error: no key was made" >&2; exit 1; }

# The compactor's first event finds the bucket fit; without it ingest answers 503.
awslocal lambda invoke --function-name "$COMPACTOR" --cli-binary-format raw-in-base64-out \
	--payload '{"detail-type":"Scheduled Event","source":"aws.events"}' /dev/null >&2

dir=$(mktemp -d)
mkdir "$dir/below"
echo hello >"$dir/below/hello.txt"
FUSTOR_API_KEY=$key bin/fustor agent "$dir" --ingest "$INGEST_URL" --view smoke &
agent=$!
trap 'kill $agent 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 60); do
	if FUSTOR_API_KEY=$key bin/fustor find / --url "$QUERY_URL" --view smoke 2>/dev/null | grep -q '^/below/hello.txt$'; then
		echo "smoke: fine: the query function has /below/hello.txt"
		exit 0
	fi
	sleep 2
done
echo "smoke: error: after two minutes the query function does not have /below/hello.txt" >&2
FUSTOR_API_KEY=$key bin/fustor find / --url "$QUERY_URL" --view smoke >&2 || true
exit 1
