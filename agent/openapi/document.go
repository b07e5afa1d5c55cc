package openapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// maxDocument bounds a document, bytes.
const maxDocument = 16 << 20

// document is an OpenAPI document, and where it came from.
type document struct {
	*spec
	from *url.URL // nil: a file
}

// load reads a document, of OpenAPI 3.0 or 3.1, as JSON or YAML. References to other documents are refused.
func load(ctx context.Context, o *Options) (*document, error) {
	d := &document{}
	body, err := d.read(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document %s: %w", o.Document, err)
	}
	if d.spec, err = parse(body); err != nil {
		return nil, fmt.Errorf("%s is not an OpenAPI document that can be used: %w", o.Document, err)
	}
	return d, nil
}

func (d *document) read(ctx context.Context, o *Options) ([]byte, error) {
	if !IsURL(o.Document) {
		return os.ReadFile(o.Document)
	}
	u, err := url.Parse(o.Document)
	if err != nil {
		return nil, err
	}
	d.from = u
	body, status, err := get(ctx, o, false)
	if err == nil && (status == http.StatusUnauthorized || status == http.StatusForbidden) && o.Key != "" {
		body, status, err = get(ctx, o, true)
	}
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the server answers %d %s", status, http.StatusText(status))
	}
	return body, err
}

// get fetches the document. The document says how a key is to be sent, and is not there yet: withKey sends it in both ways.
func get(ctx context.Context, o *Options, withKey bool) ([]byte, int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Document, nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept", "application/json, application/yaml;q=0.9, */*;q=0.1")
	if withKey {
		r.Header.Set("X-API-Key", o.Key)
		r.Header.Set("Authorization", "Bearer "+o.Key)
	}
	response, err := o.HTTP.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err == nil && len(body) > maxDocument {
		err = fmt.Errorf("it is larger than %d MiB", maxDocument>>20)
	}
	return body, response.StatusCode, err
}

// IsURL reports whether a document is at a URL; otherwise it is a file.
func IsURL(document string) bool {
	return strings.HasPrefix(document, "http://") || strings.HasPrefix(document, "https://")
}

// base is the URL that an operation's path is added to.
func (d *document) base(item *pathItem, op *operation, configured string) (*url.URL, error) {
	if configured != "" {
		return url.Parse(strings.TrimSuffix(configured, "/"))
	}
	servers := d.Servers
	if len(item.Servers) > 0 {
		servers = item.Servers
	}
	if len(op.Servers) > 0 {
		servers = op.Servers
	}
	raw, hostless := "/", false
	if len(servers) > 0 && servers[0].URL != "" {
		raw, hostless = expand(servers[0])
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the document's server %q: %w", raw, err)
	}
	switch {
	case d.from != nil && hostless:
		u.Scheme, u.Host = d.from.Scheme, d.from.Host
	case d.from != nil:
		u = d.from.ResolveReference(u)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || hostless && d.from == nil {
		return nil, errors.New("the document does not say which host it is of: set server to its URL")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	u.RawQuery, u.Fragment = "", ""
	return u, nil
}

// expand puts the defaults of a server's variables in. hostless: the host is a variable, so that its default is but an example.
func expand(s server) (raw string, hostless bool) {
	raw = s.URL
	if _, rest, ok := strings.Cut(raw, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		hostless = strings.HasPrefix(host, "{")
	}
	for name, v := range s.Variables {
		raw = strings.ReplaceAll(raw, "{"+name+"}", v.Default)
	}
	return raw, hostless
}

// credential is how the document wants a call's key; the zero value: it wants none.
type credential struct {
	header string
	prefix string
}

// credentialOf is how an operation wants its key: the first alternative that is one key in a header, or a bearer token.
func (d *document) credentialOf(op *operation) (c credential, needed bool, err error) {
	requirements := d.Security
	if op.Security != nil {
		requirements = *op.Security
	}
	needed = len(requirements) > 0
	var unknown []string
	for _, r := range requirements {
		if len(r) == 0 {
			needed = false
		}
		if len(r) != 1 {
			continue
		}
		for name := range r {
			if c, ok := d.scheme(name); ok {
				return c, needed, nil
			}
			unknown = append(unknown, name)
		}
	}
	if needed {
		return c, true, fmt.Errorf("it wants the security scheme %q; an API key in a header and an HTTP bearer token are known", strings.Join(unknown, ", "))
	}
	for _, p := range op.Parameters { // as servers do that take the key as a parameter
		if p.In == "header" && slices.Contains([]string{"x-api-key", "api-key"}, strings.ToLower(p.Name)) {
			return credential{header: p.Name}, p.Required, nil
		}
	}
	return c, false, nil
}

func (d *document) scheme(name string) (credential, bool) {
	s := d.Components.SecuritySchemes[name]
	switch {
	case s == nil:
	case s.Type == "apiKey" && s.In == "header":
		return credential{header: s.Name}, true
	case s.Type == "http" && strings.EqualFold(s.Scheme, "bearer"):
		return credential{header: "Authorization", prefix: "Bearer "}, true
	}
	return credential{}, false
}
