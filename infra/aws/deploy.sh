#!/bin/sh
# Deploys or removes the stack of template.yaml: sh infra/aws/deploy.sh check|deploy|destroy, by make deploy-aws and
# make destroy-aws. STACK is its name, ARCH that of the functions, PARAMETERS are "Name=value …" for the template.
set -eu
STACK=${STACK:-fustor}
ARCH=${ARCH:-arm64}
cd "$(dirname "$0")/../.."

fail() {
	echo "deploy: error: $1" >&2
	[ -z "${2:-}" ] || echo "deploy: hint: $2" >&2
	exit 1
}

check() {
	case $STACK in
	*[!a-z0-9-]* | [!a-z]* | *-) fail "the stack's name \"$STACK\" cannot be part of a bucket's name" "use a-z, 0-9 and -, beginning with a letter: make deploy-aws STACK=fustor" ;;
	esac
	[ ${#STACK} -le 30 ] || fail "the stack's name has more than 30 letters" "the bucket is named after it, the account and the region"
	case $ARCH in arm64 | amd64) ;; *) fail "ARCH is \"$ARCH\"" "it is arm64 or amd64" ;; esac
	command -v aws >/dev/null 2>&1 || fail "the AWS CLI is not installed" "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
	command -v sam >/dev/null 2>&1 || fail "the AWS SAM CLI is not installed" "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html"
	region=$(aws configure get region 2>/dev/null || true)
	[ -n "${AWS_REGION:-${AWS_DEFAULT_REGION:-$region}}" ] || fail "no AWS region is set" "export AWS_REGION=eu-central-1, or aws configure"
	aws sts get-caller-identity >/dev/null 2>&1 || fail "AWS does not accept your credentials, or there are none" "aws configure, aws sso login, or AWS_PROFILE; \`aws sts get-caller-identity\` says more"
}

case ${1:-} in
check) check ;;
deploy)
	check
	[ -x bin/lambda/bootstrap ] || fail "bin/lambda/bootstrap is missing" "make build-lambda"
	architecture=arm64
	[ "$ARCH" = arm64 ] || architecture=x86_64
	# Each word that looks like Name=value begins a parameter; the others belong to the value before them: "Schedule=rate(10 minutes)".
	set -f
	set -- "Architecture=$architecture"
	parameter=
	for word in ${PARAMETERS:-}; do
		case $word in
		[A-Z]*=*)
			[ -z "$parameter" ] || set -- "$@" "$parameter"
			parameter=$word
			;;
		*)
			[ -n "$parameter" ] || fail "PARAMETERS begins with \"$word\", which is no Name=value" "PARAMETERS='AlarmEmail=me@example.org QueryMemory=1024'"
			parameter="$parameter $word"
			;;
		esac
	done
	[ -z "$parameter" ] || set -- "$@" "$parameter"
	sam deploy --template-file infra/aws/template.yaml --stack-name "$STACK" --resolve-s3 --capabilities CAPABILITY_IAM \
		--no-fail-on-empty-changeset --parameter-overrides "$@"
	store=$(aws cloudformation describe-stacks --stack-name "$STACK" --query "Stacks[0].Outputs[?OutputKey=='StoreUrl'].OutputValue" --output text)
	echo
	echo "Now make a key for the agents of a view, and one for its readers (docs/deploy-aws.md):"
	echo "  fustor admin key create agents --role ingest --view research --store $store"
	echo "  fustor admin key create alice --role query --view research --store $store"
	;;
destroy)
	check
	bucket=$(aws cloudformation describe-stacks --stack-name "$STACK" --query "Stacks[0].Outputs[?OutputKey=='BucketName'].OutputValue" --output text 2>/dev/null) ||
		fail "there is no stack \"$STACK\" in this account and region" "aws cloudformation list-stacks"
	sam delete --stack-name "$STACK" --no-prompts
	echo "The bucket stays, with all views. To remove it for good: aws s3 rb --force s3://$bucket"
	;;
*) fail "what is to be done?" "sh infra/aws/deploy.sh check|deploy|destroy" ;;
esac
