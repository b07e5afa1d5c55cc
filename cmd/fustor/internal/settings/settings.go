// Package settings is how a reading command knows whom to ask: from its flags, the environment, the user's config file,
// the `fustor up` of this user, or the socket at which a server of this machine answers its users, in that order.
//
// A key that was found beside a URL, in the config file or in a data directory, is sent to that URL and to no other.
// The package reads files but no environment: the caller says what is in it.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fustor/fustor/internal/unixsocket"
)

// DefaultView is the view that is asked if nobody names one.
const DefaultView = "default"

// Given is what the user said, where "" means nothing.
type Given struct {
	URL, Key, View, Data             string // flags
	EnvURL, EnvKey, EnvView, EnvData string // FUSTOR_URL, FUSTOR_API_KEY, FUSTOR_VIEW, FUSTOR_DATA
	EnvSocket                        string // FUSTOR_SOCKET
	ConfigFile                       string // where the config file is, if there is one
	DefaultData                      string // the data directory of a `fustor up` without --data
	DefaultSocket                    string // where a server of this host answers its users; empty: nowhere
}

// Server is whom to ask.
type Server struct {
	URL, Key, View string
	From           string // where the URL comes from, for messages
}

// ErrNoServer: nothing says which server to ask.
var ErrNoServer = errors.New("no server to ask")

// Find decides whom to ask.
func Find(g Given) (Server, error) {
	file, err := readConfig(g.ConfigFile)
	if err != nil {
		return Server{}, err
	}
	s, beside, err := locate(g, file)
	if err != nil {
		return Server{}, err
	}
	// What the config file says without naming a URL holds for any.
	var general found
	if file.URL == "" {
		general = found{view: file.View, key: file.key}
	}
	s.View = first(g.View, g.EnvView, beside.view, general.view, DefaultView)
	s.Key = first(g.Key, g.EnvKey)
	for _, f := range []found{beside, general} {
		if s.Key == "" && f.key != nil {
			if s.Key, err = f.key(); err != nil {
				return Server{}, err
			}
		}
	}
	return s, nil
}

// found is what stands beside a URL.
type found struct {
	view string
	key  func() (string, error)
}

// locate finds the URL, and what stands beside it.
func locate(g Given, file config) (Server, found, error) {
	besideURL := func(url string) found {
		if file.URL != "" && file.URL == url {
			return found{view: file.View, key: file.key}
		}
		return found{}
	}
	switch {
	case g.URL != "":
		return Server{URL: g.URL, From: "--url"}, besideURL(g.URL), nil
	case g.Data != "":
		return local(g.Data)
	case g.EnvURL != "":
		return Server{URL: g.EnvURL, From: "FUSTOR_URL"}, besideURL(g.EnvURL), nil
	case g.EnvSocket != "":
		return Server{URL: unixsocket.Scheme + g.EnvSocket, From: "FUSTOR_SOCKET"}, found{}, nil
	case g.EnvData != "":
		return local(g.EnvData)
	case file.URL != "":
		return Server{URL: file.URL, From: g.ConfigFile}, besideURL(file.URL), nil
	case file.Data != "":
		return local(file.Data)
	}
	s, beside, err := local(g.DefaultData)
	if errors.Is(err, ErrNoServer) && g.DefaultSocket != "" && unixsocket.Exists(g.DefaultSocket) {
		return Server{URL: unixsocket.Scheme + g.DefaultSocket, From: g.DefaultSocket}, found{}, nil
	}
	return s, beside, err
}

// local reads what the `fustor up` with this data directory left for us.
func local(data string) (Server, found, error) {
	up, err := ReadUp(data)
	if errors.Is(err, fs.ErrNotExist) {
		return Server{}, found{}, fmt.Errorf("%w: no `fustor up` runs with the data directory %s", ErrNoServer, data)
	}
	if err != nil {
		return Server{}, found{}, err
	}
	f := found{view: up.View, key: func() (string, error) { return readKey(filepath.Join(data, up.APIKeyFile)) }}
	if up.APIKeyFile == "" {
		f.key = nil
	} else if filepath.IsAbs(up.APIKeyFile) {
		f.key = func() (string, error) { return readKey(up.APIKeyFile) }
	}
	return Server{URL: up.URL, From: data}, f, nil
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
