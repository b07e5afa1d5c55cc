package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
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
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return usageError("not the URL of a part; use the form http://127.0.0.1:8080")
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
	if key := a.getenv("FUSTOR_API_KEY"); key != "" {
		r.Header.Set("X-API-Key", key)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return &cliError{msg: fmt.Sprintf("no answer from %s: %v", u.Host, err), code: exitFailure}
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &cliError{msg: fmt.Sprintf("%s answers %s", u, answer.Status), code: exitFailure}
	}
	_, err = fmt.Fprintln(a.stdout, "ok")
	return err
}
