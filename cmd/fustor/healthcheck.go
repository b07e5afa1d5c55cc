package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

type healthCmd struct {
	URL     string        `arg:"" name:"url" help:"Part to ask: http://127.0.0.1:8081 asks its /readyz; a path asks that."`
	Timeout time.Duration `default:"5s" placeholder:"TIME" help:"How long to wait (default 5s)."`
}

// Help implements kong.HelpProvider.
func (healthCmd) Help() string {
	return `For images that have no shell and no curl. /readyz asks the store too; /healthz says
that the process lives. The key is taken from FUSTOR_API_KEY alone.

Examples:

    fustor healthcheck http://127.0.0.1:8080
    fustor healthcheck http://127.0.0.1:9464/healthz`
}

func (c *healthCmd) Run(ctx context.Context, a *app) error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return usageError("that is not the URL of a part, such as http://127.0.0.1:8080")
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
