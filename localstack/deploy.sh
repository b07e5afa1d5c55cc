#!/bin/sh
# Deploys infra/aws/template.yaml to the LocalStack of compose.yaml. It needs samlocal and awslocal (pip install
# aws-sam-cli-local awscli-local aws-sam-cli awscli). It prints NAME=value lines, which smoke.sh reads.
set -eu
cd "$(dirname "$0")/.."
STACK=${STACK:-fustor}
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1

for tool in samlocal awslocal curl; do
	command -v "$tool" >/dev/null 2>&1 || {
		echo "localstack: error: $tool is not installed" >&2
		echo "localstack: hint: pip install aws-sam-cli-local awscli-local aws-sam-cli awscli" >&2
		exit 1
	}
done
curl -fs http://127.0.0.1:4566/_localstack/health >/dev/null || {
	echo "localstack: error: LocalStack does not answer on 127.0.0.1:4566" >&2
	echo "localstack: hint: docker compose -f localstack/compose.yaml up -d --wait" >&2
	exit 1
}

# The functions run as containers of this machine's own kind.
case $(uname -m) in
aarch64 | arm64) arch=arm64 architecture=arm64 ;;
*) arch=amd64 architecture=x86_64 ;;
esac
make build-lambda ARCH=$arch >&2
samlocal deploy --template-file infra/aws/template.yaml --stack-name "$STACK" --resolve-s3 --capabilities CAPABILITY_IAM \
	--no-confirm-changeset --no-fail-on-empty-changeset --parameter-overrides "Architecture=$architecture" "Schedule=rate(1 minute)" >&2

output() {
	awslocal cloudformation describe-stacks --stack-name "$STACK" --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" --output text
}
echo "INGEST_URL=$(output IngestUrl)"
echo "QUERY_URL=$(output QueryUrl)"
echo "BUCKET=$(output BucketName)"
echo "COMPACTOR=$(output CompactorFunction)"
