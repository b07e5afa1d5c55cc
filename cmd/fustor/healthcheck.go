//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/httpclient"
)

type healthCmd struct {
	URL     string        `arg:"" name:"url" help:"URL of the part, such as http://127.0.0.1:8081; without a path, it checks /readyz."`
	Timeout time.Duration `default:"5s" placeholder:"TIME" help:"How long to wait (default 5s)."`
}

// Help implements kong.HelpProvider.
func (healthCmd) Help() string {
	return `For images without a shell and curl. /readyz also checks the store; /healthz checks
only that the process lives. The key comes from FUSTOR_API_KEY only.

Examples:

    fustor healthcheck http://127.0.0.1:8080
    fustor healthcheck http://127.0.0.1:9464/healthz`
}

func (c *healthCmd) Run(ctx context.Context, a *app) error {
	u, err := httpclient.ParseURL(c.URL)
	if err != nil {
		return usageError("%v", err)
	}
	if u.User != nil {
		return usageError("not the URL of a part: it has a user name; use the form http://127.0.0.1:8080")
	}
	key := a.getenv("FUSTOR_API_KEY")
	if err := httpclient.CheckKey(key); err != nil {
		return usageError("FUSTOR_API_KEY: %v", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	answer, err := httpclient.New(nil).Do(r)
	var redirected *httpclient.RedirectError
	if errors.As(err, &redirected) {
		return &cliError{msg: redirected.Error(), code: exitFailure, err: err}
	}
	if err != nil {
		return &cliError{msg: fmt.Sprintf("no answer from %s: %v", u.Host, err), code: exitFailure}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &cliError{msg: fmt.Sprintf("%s answers %s", u, answer.Status), code: exitFailure}
	}
	if err := httpclient.CheckNoPage(answer); err != nil {
		return &cliError{msg: err.Error(), code: exitFailure, err: err}
	}
	if n, err := io.CopyN(io.Discard, answer.Body, 1); n == 0 {
		return &cliError{msg: fmt.Sprintf("%s answers 200 with nothing: it is no part of Fustor", u), code: exitFailure, err: err}
	}
	_, err = fmt.Fprintln(a.stdout, "ok")
	return err
}
