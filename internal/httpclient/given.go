package httpclient

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// ParseURL reads the URL of a server as a user gave it: http or https, with a host, perhaps with a path that calls are
// added to. A slash at the end is left out. The error names what is wrong with it.
func ParseURL(text string) (*url.URL, error) {
	if err := checkText(text); err != nil {
		return nil, fmt.Errorf("the URL %q %w", text, err)
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	const form = ": use the form http://HOST:PORT"
	switch {
	case text == "":
		return nil, errors.New("the URL is empty" + form)
	case err != nil && !strings.Contains(text, "://"): // localhost:8080/a:b
		return nil, fmt.Errorf("the URL %q does not begin with http:// or https://%s", text, form)
	case err != nil:
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("the URL %q is invalid: %w", text, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the URL %q does not begin with http:// or https://%s", text, form)
	case u.Hostname() == "":
		return nil, fmt.Errorf("the URL %q has no host%s", text, form)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("the URL %q has a query or a fragment: leave out what is behind %s", text, strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"))
	}
	return u, nil
}

// CheckKey says what keeps an API key from being sent. It never quotes the key.
func CheckKey(key string) error {
	if err := checkText(key); err != nil {
		return fmt.Errorf("the API key %w", err)
	}
	return nil
}

// checkText names the characters that come along when a value is copied, or read from a file of another system.
func checkText(text string) error {
	switch {
	case strings.ContainsRune(text, '\ufeff'):
		return errors.New("contains a byte order mark (BOM), which some editors write at the beginning of a file: save it as UTF-8 without BOM")
	case strings.HasSuffix(text, "\r"), strings.HasSuffix(text, "\r\n"):
		return errors.New("ends with a carriage return (CR), as in files with Windows line endings: remove it, as with `tr -d '\\r'`")
	case strings.ContainsAny(text, "\r\n"):
		return errors.New("contains a line break: it must be a single line")
	case strings.TrimSpace(text) != text:
		return errors.New("begins or ends with white space: remove it")
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return fmt.Errorf("contains the control character %U: remove it", r)
		}
	}
	return nil
}
