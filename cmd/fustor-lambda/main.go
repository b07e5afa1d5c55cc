// Command fustor-lambda is the bootstrap of AWS Lambda functions: ingest, query or the compactor, by the function's
// handler or FUSTOR_PART. They are the handlers that the servers have; docs/deploy-aws.md says how they are deployed.
//
// Invariants: what is wrong with the configuration is told to Lambda as an init error, in words; a panic of one invocation
// is that invocation's failure; nothing is begun that an invocation's deadline would cut off without a trace.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/cmd/internal/parts"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/openid"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/query"
)

// version is set by the linker (Makefile).
var version = "0.1.0-dev"

func main() {
	os.Exit(run(os.Getenv, os.Stderr))
}

// run starts the part and serves invocations; it returns only if that cannot go on.
func run(getenv func(string) string, stderr io.Writer) int {
	api := getenv("AWS_LAMBDA_RUNTIME_API")
	if api == "" {
		fmt.Fprintln(stderr, "fustor-lambda: error: this program runs only as an AWS Lambda function")
		fmt.Fprintln(stderr, "fustor-lambda: hint: run `fustor ingest`, `fustor query` and `fustor compact` as servers; docs/deploy-aws.md explains how to deploy the functions")
		return 2
	}
	log := newLogger(stderr)
	takeLibrariesLog(log)
	began := time.Now()
	function, part, err := begin(context.Background(), getenv, log)
	if err != nil {
		log.Error("the function cannot start", "error", err.Error())
		if err := reportInitError(api, err); err != nil {
			log.Error("cannot report the reason to Lambda", "error", err.Error())
		}
		return 1
	}
	log.Info("ready", "part", part, "version", version, "took", time.Since(began))
	lambda.StartHandlerFunc(function) // it does not return
	return 1
}

// function answers one event: HTTP of a Function URL, a batch of messages, or a tick of the schedule.
type function = func(context.Context, json.RawMessage) (any, error)

// begin makes the function that the environment asks for.
func begin(ctx context.Context, getenv func(string) string, log *slog.Logger) (function, string, error) {
	part := getenv("FUSTOR_PART")
	if part == "" {
		part = getenv("_HANDLER")
	}
	url := getenv("FUSTOR_STORE")
	if url == "" {
		return nil, part, errors.New("FUSTOR_STORE is not set: it names the bucket, such as s3://bucket")
	}
	mem, err := memoryOf(getenv)
	if err != nil {
		return nil, part, err
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(mem / 8 * 7) // the rest is what the collector does not count
	}
	switch part {
	case "ingest":
		f, err := beginIngest(ctx, url, log)
		return f, part, err
	case "query":
		provider, err := beginProvider(ctx, getenv, log)
		if err != nil {
			return nil, part, err
		}
		f, err := beginQuery(ctx, url, mem, provider, log)
		return f, part, err
	case "compactor":
		f, err := beginCompactor(ctx, url, mem, log)
		return f, part, err
	}
	return nil, part, fmt.Errorf("there is no part %q: set the function's handler, or FUSTOR_PART, to ingest, query or compactor", part)
}

// storeAndKeys opens the store and reads API keys from it. provider: nil for none.
func storeAndKeys(ctx context.Context, url string, provider access.Tokens) (store.Store, *access.Authenticator, error) {
	st, err := parts.OpenForReading(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	keys, err := parts.Keys(access.Options{Store: st, Tokens: provider}, "")
	return st, keys, err
}

func beginIngest(ctx context.Context, url string, log *slog.Logger) (function, error) {
	st, keys, err := storeAndKeys(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	i, err := ingest.New(ingest.Options{
		Store: st, Authenticator: keys, Logger: log, Registry: prometheus.NewRegistry(), AnswerAtOnce: true,
	})
	if err != nil {
		return nil, err
	}
	return serveURL(&gate{Handler: i.Handler(), store: st}, log), nil
}

// findWithin is how long the start of a function waits for the OpenID provider.
const findWithin = 3 * time.Second

// beginProvider has the OpenID provider of the environment asked until it answers; nil without one. A function's host knows no users, so
// tokens must have uid and groups. The start waits a little: a function that has just started would refuse the token that it started for.
func beginProvider(ctx context.Context, getenv func(string) string, log *slog.Logger) (access.Tokens, error) {
	o := openid.Options{Issuer: getenv("FUSTOR_OIDC_ISSUER"), Audience: getenv("FUSTOR_OIDC_AUDIENCE"), Claim: getenv("FUSTOR_OIDC_USER_CLAIM"),
		UIDClaim: getenv("FUSTOR_OIDC_UID_CLAIM"), GIDsClaim: getenv("FUSTOR_OIDC_GIDS_CLAIM"), Logger: log}
	if o.Issuer == "" {
		if o.Audience != "" || o.UIDClaim != "" || o.GIDsClaim != "" {
			return nil, errors.New("FUSTOR_OIDC_ISSUER is not set, and other settings of an OpenID provider are")
		}
		return nil, nil
	}
	if o.UIDClaim == "" || o.GIDsClaim == "" {
		return nil, errors.New("FUSTOR_OIDC_ISSUER needs FUSTOR_OIDC_UID_CLAIM and FUSTOR_OIDC_GIDS_CLAIM: a function knows no users by name, so their tokens must have uid and gids")
	}
	p, err := openid.New(o)
	if err != nil {
		return nil, fmt.Errorf("FUSTOR_OIDC_ISSUER and FUSTOR_OIDC_AUDIENCE: %w", err)
	}
	found := make(chan struct{})
	go func() {
		p.Find(ctx)
		close(found)
	}()
	select {
	case <-found:
	case <-time.After(findWithin):
	}
	return p, nil
}

func beginQuery(ctx context.Context, url string, mem int64, provider access.Tokens, log *slog.Logger) (function, error) {
	st, keys, err := storeAndKeys(ctx, url, provider)
	if err != nil {
		return nil, err
	}
	q, err := query.New(query.Options{
		Store: st, Authenticator: keys, Logger: log, Registry: prometheus.NewRegistry(), CacheBytes: mem / 4, AnswerAtOnce: true,
	})
	if err != nil {
		return nil, err
	}
	return serveURL(q.Handler(), log), nil
}

func beginCompactor(ctx context.Context, url string, mem int64, log *slog.Logger) (function, error) {
	bucket, prefix, ok := open.Location(url)
	if !ok {
		return nil, fmt.Errorf("FUSTOR_STORE has no bucket, which the compactor needs; use s3://bucket/prefix")
	}
	st, err := parts.OpenForReading(ctx, url)
	if err != nil {
		return nil, err
	}
	c, err := compactor.New(compactor.Options{Store: st, Logger: log, CacheBytes: mem / 16, CallOthers: true})
	if err != nil {
		return nil, err
	}
	f := &compaction{compactor: c, store: st, bucket: bucket, prefix: prefix, log: log}
	return f.handle, nil
}

// memoryOf is what the function may use, bytes.
func memoryOf(getenv func(string) string) (int64, error) {
	text := getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
	mib, err := strconv.ParseInt(text, 10, 32)
	if err != nil || mib < 128 {
		return 0, fmt.Errorf("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is %q, not a number of MiB from 128", text)
	}
	return mib << 20, nil
}
